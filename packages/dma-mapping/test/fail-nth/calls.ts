/** Every call of the API that takes something, each with the call that gives it back. */
import { type PhysAddr, physAddr } from '@iommu-lab/machine';
import { BouncePool, DmaPool, type SgEntry, type SgTable } from '../../src/index.ts';
import { ARENA, REGISTERS, type SystemOptions, type TestSystem } from '../support/system.ts';

const PAGE = 4096;

/** A way from driver to memory. */
export interface SweptWay {
  readonly name: string;
  readonly options: SystemOptions;
  /** The bounce pool is full before the call, and may grow. */
  readonly isFull?: boolean;
}

const POOL = { sizeBytes: 0x40000 };
export const SWEPT_WAYS: readonly SweptWay[] = [
  { name: 'direct', options: { path: 'direct' } },
  { name: 'IOMMU, strict', options: { path: 'iommu' } },
  { name: 'IOMMU, deferred', options: { path: 'iommu', invalidation: 'deferred', cpus: 2 } },
  { name: 'IOMMU, checked', options: { path: 'iommu', debug: true } },
  { name: 'bounced, forced', options: { path: 'direct', bounce: POOL, forceBounce: true } },
  {
    name: 'bounced, forced, pool grows',
    options: { path: 'direct', bounce: { ...POOL, maxBytes: 0x100000 }, forceBounce: true },
    isFull: true,
  },
  { name: 'bounced, out of reach', options: { path: 'direct', bounce: POOL, mask: 0x1fffffff } },
  { name: 'not trusted', options: { path: 'iommu', bounce: POOL, isUntrusted: true } },
];

/** Gives back what the call took. */
export type Undo = () => void;

/** Calls that take the same things in the same way. */
export type CallGroup =
  | 'streaming'
  | 'resource'
  | 'scattered memory'
  | 'contiguous memory'
  | 'block'
  | 'mmap'
  | 'reserve'
  | 'link'
  | 'bounce pool'
  | 'configure';

export interface SweptCall {
  readonly name: string;
  readonly group: CallGroup;
  /** @returns the call. It throws when it fails, or returns undefined where it says so by its value. */
  readonly prepare: (system: TestSystem) => () => Undo | undefined;
  /** Where there is such a call at all. */
  readonly isOn?: (way: SweptWay) => boolean;
}

const at = (page: number, offset = 0): PhysAddr => physAddr(ARENA + page * PAGE + offset);
/** Some whole pages, some not. */
const LIST: readonly SgEntry[] = [
  { address: at(5), length: PAGE },
  { address: at(1, 100), length: 2 * PAGE },
  { address: at(7), length: PAGE },
  { address: at(9, 8), length: 50 },
];

/** None of them fits behind the one before it in four pages. */
const HOLED: readonly SgEntry[] = [
  { address: at(1), length: 3 * PAGE },
  { address: at(5, 100), length: PAGE },
  { address: at(8), length: 4 * PAGE },
  { address: at(13, 8), length: 50 },
];

export const SWEPT_CALLS: readonly SweptCall[] = [
  {
    name: 'mapSingle',
    group: 'streaming',
    prepare:
      ({ dma }) =>
      () => {
        const address = dma.mapSingle(at(2, 100), 2 * PAGE, 'from-device');
        return () => dma.unmapSingle(address, 2 * PAGE, 'from-device');
      },
  },
  {
    name: 'mapSingle with the error as a value',
    group: 'streaming',
    prepare:
      ({ dma }) =>
      () => {
        const address = dma.mapSingle(at(2), 300, 'bidirectional', { errorAsValue: true });
        if (dma.mappingError(address)) return undefined;
        return () => dma.unmapSingle(address, 300, 'bidirectional');
      },
  },
  {
    name: 'mapPage',
    group: 'streaming',
    prepare:
      ({ dma }) =>
      () => {
        const address = dma.mapPage(ARENA, 8, 100, 'to-device');
        return () => dma.unmapPage(address, 100, 'to-device');
      },
  },
  {
    name: 'mapResource',
    group: 'resource',
    prepare:
      ({ dma }) =>
      () => {
        const address = dma.mapResource(REGISTERS, 4096, 'to-device');
        return () => dma.unmapResource(address, 4096, 'to-device');
      },
    isOn: ({ options }) => options.forceBounce !== true,
  },
  {
    name: 'mapSg',
    group: 'streaming',
    prepare:
      ({ dma }) =>
      () => {
        const segments = dma.mapSg(LIST, 'from-device');
        return () => dma.unmapSg(segments, 'from-device');
      },
  },
  {
    name: 'mapSg with holes',
    group: 'streaming',
    prepare({ dma }) {
      dma.setParameters({ maxSegmentBytes: 4 * PAGE, segmentBoundaryMask: 4 * PAGE - 1 });
      return () => {
        const segments = dma.mapSg(HOLED, 'bidirectional');
        return () => dma.unmapSg(segments, 'bidirectional');
      };
    },
  },
  {
    name: 'mapSgTable',
    group: 'streaming',
    prepare({ dma }) {
      const table: SgTable = { entries: LIST, segments: [] };
      return () => {
        dma.mapSgTable(table, 'to-device');
        return () => dma.unmapSgTable(table, 'to-device');
      };
    },
  },
  {
    name: 'allocCoherent',
    group: 'scattered memory',
    prepare:
      ({ dma }) =>
      () => {
        const buffer = dma.allocCoherent(3 * PAGE);
        return () => dma.freeCoherent(buffer);
      },
  },
  {
    name: 'allocCoherent, contiguous',
    group: 'contiguous memory',
    prepare:
      ({ dma }) =>
      () => {
        const buffer = dma.allocCoherent(2 * PAGE, { forceContiguous: true });
        return () => dma.freeCoherent(buffer);
      },
  },
  {
    name: 'allocNoncoherent',
    group: 'contiguous memory',
    prepare:
      ({ dma }) =>
      () => {
        const buffer = dma.allocNoncoherent(2 * PAGE, 'from-device');
        return () => dma.freeNoncoherent(buffer);
      },
  },
  {
    name: 'allocNoncontiguous',
    group: 'scattered memory',
    prepare:
      ({ dma }) =>
      () => {
        const buffer = dma.allocNoncontiguous(3 * PAGE, 'bidirectional');
        return () => dma.freeNoncontiguous(buffer);
      },
  },
  {
    name: 'mmap',
    group: 'mmap',
    prepare(system) {
      const { dma } = system;
      const buffer = dma.allocCoherent(2 * PAGE);
      const process = system.makeProcess();
      return () => {
        const address = dma.mmap(process, buffer);
        return () => process.munmap(address, 2 * PAGE);
      };
    },
  },
  {
    name: 'tryAllocIova',
    group: 'reserve',
    prepare:
      ({ dma }) =>
      () => {
        const reservation = dma.tryAllocIova(at(2), 2 * PAGE);
        return reservation && (() => dma.freeIova(reservation));
      },
    isOn: ({ options }) => options.path === 'iommu',
  },
  {
    name: 'linkIova',
    group: 'link',
    prepare({ dma }) {
      const reservation = dma.tryAllocIova(at(2, 96), 3 * PAGE);
      if (reservation === undefined) throw new Error('no reservation');
      const first = PAGE - 96;
      return () => {
        dma.linkIova(reservation, at(2, 96), 0, first, 'from-device');
        try {
          dma.linkIova(reservation, at(6), first, PAGE + 8, 'from-device');
        } catch (error) {
          dma.unlinkIova(reservation, 0, first, 'from-device');
          throw error;
        }
        dma.syncIova(reservation, 0, first + PAGE + 8);
        return () => dma.unlinkIova(reservation, 0, first + PAGE + 8, 'from-device');
      };
    },
    isOn: ({ options }) => options.path === 'iommu',
  },
  {
    name: 'DmaPool.alloc',
    group: 'block',
    prepare({ dma, world }) {
      const pool = new DmaPool(world, dma, { name: 'blocks', sizeBytes: 64 });
      return () => {
        const block = pool.alloc();
        return () => {
          pool.free(block);
          pool.destroy();
        };
      };
    },
  },
  {
    name: 'new BouncePool',
    group: 'bounce pool',
    prepare:
      ({ world, frames, cache }) =>
      () => {
        const pool = new BouncePool(world, frames, cache.cached, POOL);
        return () => pool.destroy();
      },
    isOn: ({ options, isFull }) => options.bounce !== undefined && isFull !== true,
  },
  {
    name: 'configure a device',
    group: 'configure',
    prepare({ bus, device }) {
      bus.removeDevice(device);
      return () => {
        bus.addDevice(device);
        if (device.driver === undefined) {
          bus.removeDevice(device);
          return undefined;
        }
        return () => bus.removeDevice(device);
      };
    },
    isOn: ({ options }) => options.path === 'iommu' && options.debug !== true,
  },
];
