/**
 * For each kind of mistake a program that makes it, and a neighbouring one that does not. ERRORS.md shows the former's report.
 * Long because it is one table, a row for each kind, and each pair is read side by side.
 */
import type { DmaErrorKind } from '../../../src/debug/dma-debug.ts';
import type { CoherentBuffer, NoncoherentBuffer } from '../../../src/dma-ops.ts';
import {
  at,
  BUFFER,
  PRIVATE,
  REGISTERS,
  type Scene,
  type SceneOptions,
  SECOND,
  STACK,
  TEXT,
  VMALLOC,
} from './scene.ts';

export interface ProgramPair {
  readonly wrong: (scene: Scene) => void;
  readonly right: (scene: Scene) => void;
  /** Of both. */
  readonly scene?: SceneOptions;
  /** The wrong program leaves something mapped; the others must not. */
  readonly leaves?: boolean;
}

const FRAME = { site: 'rot: frame' };
const DONE = { site: 'rot: done' };
const LIST = [
  { address: BUFFER, length: 64 },
  { address: SECOND, length: 96 },
];

export const PROGRAMS: Readonly<Record<DmaErrorKind, ProgramPair>> = {
  'unmap-of-error-value': {
    wrong({ dma, fillUp }) {
      fillUp();
      const address = dma.mapSingle(BUFFER, 64, 'to-device', { ...FRAME, errorAsValue: true });
      dma.unmapSingle(address, 64, 'to-device', DONE);
    },
    right({ dma, fillUp }) {
      fillUp();
      const address = dma.mapSingle(BUFFER, 64, 'to-device', { ...FRAME, errorAsValue: true });
      if (!dma.mappingError(address)) dma.unmapSingle(address, 64, 'to-device', DONE);
    },
  },
  'unmap-not-mapped': {
    wrong({ dma, wait }) {
      const address = dma.mapSingle(BUFFER, 64, 'to-device', FRAME);
      dma.unmapSingle(address, 64, 'to-device', { site: 'rot: error path' });
      wait(500);
      dma.unmapSingle(address, 64, 'to-device', { site: 'rot: remove' });
    },
    right({ dma }) {
      for (let i = 0; i < 2; i++) {
        const address = dma.mapSingle(BUFFER, 64, 'to-device', FRAME);
        dma.unmapSingle(address, 64, 'to-device', DONE);
      }
    },
  },
  'unmap-wrong-size': {
    wrong({ dma }) {
      const address = dma.mapSingle(BUFFER, 4096, 'from-device', FRAME);
      dma.unmapSingle(address, 1024, 'from-device', DONE);
    },
    right({ dma }) {
      const address = dma.mapSingle(BUFFER, 4096, 'from-device', FRAME);
      dma.unmapSingle(address, 4096, 'from-device', DONE);
    },
  },
  'unmap-wrong-function': {
    wrong({ dma }) {
      const segments = dma.mapSg(LIST, 'to-device', FRAME);
      for (const { address, length } of segments) dma.unmapSingle(address, length, 'to-device', DONE);
    },
    right({ dma }) {
      // Single and page are one kind.
      const address = dma.mapSingle(BUFFER, 64, 'to-device', FRAME);
      dma.unmapPage(address, 64, 'to-device', DONE);
      const page = dma.mapPage(BUFFER, 64, 64, 'to-device', FRAME);
      dma.unmapSingle(page, 64, 'to-device', DONE);
    },
  },
  'free-wrong-handle': {
    wrong({ dma }) {
      const first: NoncoherentBuffer = dma.allocNoncoherent(4096, 'to-device', { site: 'rot: commands' });
      dma.freeNoncoherent({ ...first, address: at(first.address, 4096) }, DONE);
    },
    right({ dma }) {
      const first: NoncoherentBuffer = dma.allocNoncoherent(4096, 'to-device', { site: 'rot: commands' });
      // The same CPU address and the same device address: it is the buffer.
      dma.freeNoncoherent({ ...first }, DONE);
    },
  },
  'unmap-wrong-count': {
    wrong({ dma }) {
      const segments = dma.mapSg(LIST, 'from-device', FRAME);
      dma.unmapSg(segments.slice(0, 1), 'from-device', DONE);
    },
    right({ dma }) {
      dma.unmapSg(dma.mapSg(LIST, 'from-device', FRAME), 'from-device', DONE);
    },
  },
  'unmap-wrong-direction': {
    wrong({ dma }) {
      const address = dma.mapSingle(BUFFER, 64, 'from-device', FRAME);
      dma.unmapSingle(address, 64, 'to-device', DONE);
    },
    right({ dma }) {
      const address = dma.mapSingle(BUFFER, 64, 'bidirectional', FRAME);
      dma.unmapSingle(address, 64, 'bidirectional', DONE);
    },
  },
  'map-error-unchecked': {
    wrong({ dma }) {
      const address = dma.mapSingle(BUFFER, 64, 'to-device', { ...FRAME, errorAsValue: true });
      dma.unmapSingle(address, 64, 'to-device', DONE);
    },
    right({ dma }) {
      const address = dma.mapSingle(BUFFER, 64, 'to-device', { ...FRAME, errorAsValue: true });
      if (!dma.mappingError(address)) dma.unmapSingle(address, 64, 'to-device', DONE);
      // A map that throws owes nothing.
      dma.unmapSingle(dma.mapSingle(BUFFER, 64, 'to-device', FRAME), 64, 'to-device', DONE);
    },
  },
  'map-of-stack': {
    wrong({ dma }) {
      const address = dma.mapSingle(at(STACK, 0x80), 16, 'to-device', { site: 'rot: status word' });
      dma.unmapSingle(address, 16, 'to-device', DONE);
    },
    right({ dma }) {
      const address = dma.mapSingle(at(STACK, -16), 16, 'to-device', { site: 'rot: status word' });
      dma.unmapSingle(address, 16, 'to-device', DONE);
    },
  },
  'map-of-text': {
    wrong({ dma }) {
      dma.unmapSg(dma.mapSg([{ address: TEXT, length: 64 }], 'to-device', FRAME), 'to-device', DONE);
    },
    right({ dma }) {
      dma.unmapSg(dma.mapSg([{ address: BUFFER, length: 64 }], 'to-device', FRAME), 'to-device', DONE);
    },
  },
  'map-of-no-memory': {
    wrong({ dma }) {
      const address = dma.mapSingle(REGISTERS, 64, 'to-device', { ...FRAME, errorAsValue: true });
      if (!dma.mappingError(address)) dma.unmapSingle(address, 64, 'to-device', DONE);
    },
    right({ dma }) {
      const address = dma.mapResource(REGISTERS, 64, 'to-device', FRAME);
      dma.unmapResource(address, 64, 'to-device', DONE);
    },
  },
  'map-of-vmalloc': {
    wrong({ dma }) {
      const address = dma.mapSingle(VMALLOC, 8192, 'to-device', { ...FRAME, errorAsValue: true });
      if (!dma.mappingError(address)) dma.unmapSingle(address, 8192, 'to-device', DONE);
    },
    right({ dma }) {
      // Its pages, wherever they lie.
      const pages = [SECOND, BUFFER].map((address) => ({ address, length: 4096 }));
      dma.unmapSg(dma.mapSg(pages, 'to-device', FRAME), 'to-device', DONE);
    },
  },
  'segment-too-long': {
    wrong({ dma, device }) {
      device.dmaParameters = { ...device.dmaParameters, maxSegmentBytes: 64 };
      dma.unmapSg(dma.mapSg(LIST, 'to-device', FRAME), 'to-device', DONE);
    },
    right({ dma, device }) {
      device.dmaParameters = { ...device.dmaParameters, maxSegmentBytes: 96 };
      dma.unmapSg(dma.mapSg(LIST, 'to-device', FRAME), 'to-device', DONE);
    },
  },
  'segment-crosses-boundary': {
    wrong({ dma, device }) {
      device.dmaParameters = { ...device.dmaParameters, segmentBoundaryMask: 0xfff };
      const entries = [{ address: at(BUFFER, 0xfc0), length: 128 }];
      dma.unmapSg(dma.mapSg(entries, 'to-device', FRAME), 'to-device', DONE);
    },
    right({ dma, device }) {
      device.dmaParameters = { ...device.dmaParameters, segmentBoundaryMask: 0xfff };
      const entries = [{ address: at(BUFFER, 0xf80), length: 128 }];
      dma.unmapSg(dma.mapSg(entries, 'to-device', FRAME), 'to-device', DONE);
    },
  },
  'overlapping-line': {
    wrong({ dma, addDevice }) {
      const other = addDevice('jpeg');
      const first = other.dma.mapSingle(BUFFER, 48, 'from-device', { site: 'jpeg: header' });
      const second = dma.mapSingle(at(BUFFER, 48), 64, 'from-device', FRAME);
      dma.unmapSingle(second, 64, 'from-device', DONE);
      other.dma.unmapSingle(first, 48, 'from-device', { site: 'jpeg: done' });
    },
    right({ dma, addDevice }) {
      const other = addDevice('jpeg');
      const first = other.dma.mapSingle(BUFFER, 64, 'from-device', { site: 'jpeg: header' });
      const second = dma.mapSingle(at(BUFFER, 64), 64, 'from-device', FRAME);
      // Two that only read may share, and so may two that promise not to be touched.
      const readers = [0, 32].map((offset) => dma.mapSingle(at(SECOND, offset), 64, 'to-device', FRAME));
      const quiet = { ...FRAME, ignoreSharedLines: true };
      const promised = [0, 16].map((offset) =>
        dma.mapSingle(at(SECOND, 512 + offset), 16, 'from-device', quiet),
      );
      const snooping = addDevice('gpu', { isDmaCoherent: true });
      const coherent = [0, 16].map((offset) =>
        snooping.dma.mapSingle(at(SECOND, 1024 + offset), 16, 'from-device'),
      );
      for (const address of coherent) snooping.dma.unmapSingle(address, 16, 'from-device');
      for (const address of promised) dma.unmapSingle(address, 16, 'from-device', DONE);
      for (const address of readers) dma.unmapSingle(address, 64, 'to-device', DONE);
      dma.unmapSingle(second, 64, 'from-device', DONE);
      other.dma.unmapSingle(first, 64, 'from-device', { site: 'jpeg: done' });
    },
  },
  'too-many-overlaps': {
    wrong({ dma }) {
      const quiet = { site: 'rot: ring', ignoreSharedLines: true };
      const ring = Array.from({ length: 9 }, () => dma.mapSingle(BUFFER, 32, 'from-device', quiet));
      for (const address of ring) dma.unmapSingle(address, 32, 'from-device', DONE);
    },
    right({ dma }) {
      const quiet = { site: 'rot: ring', ignoreSharedLines: true };
      const ring = Array.from({ length: 8 }, () => dma.mapSingle(BUFFER, 32, 'from-device', quiet));
      for (const address of ring) dma.unmapSingle(address, 32, 'from-device', DONE);
    },
  },
  'sync-not-mapped': {
    wrong({ dma, wait }) {
      const address = dma.mapSingle(BUFFER, 64, 'from-device', FRAME);
      dma.unmapSingle(address, 64, 'from-device', DONE);
      wait(100);
      dma.syncSingleForCpu(address, 64, 'from-device', 'rot: look');
    },
    right({ dma }) {
      const address = dma.mapSingle(BUFFER, 64, 'from-device', FRAME);
      dma.syncSingleForCpu(at(address, 60), 4, 'from-device', 'rot: look');
      dma.unmapSingle(address, 64, 'from-device', DONE);
    },
  },
  'sync-too-long': {
    wrong({ dma }) {
      const address = dma.mapSingle(BUFFER, 64, 'from-device', FRAME);
      dma.syncSingleForCpu(address, 4096, 'from-device', 'rot: look');
      dma.unmapSingle(address, 64, 'from-device', DONE);
    },
    right({ dma }) {
      const address = dma.mapSingle(BUFFER, 64, 'from-device', FRAME);
      dma.syncSingleForCpu(address, 64, 'from-device', 'rot: look');
      dma.unmapSingle(address, 64, 'from-device', DONE);
    },
  },
  'sync-wrong-direction': {
    wrong({ dma }) {
      const address = dma.mapSingle(BUFFER, 64, 'from-device', FRAME);
      dma.syncSingleForCpu(address, 64, 'to-device', 'rot: look');
      dma.unmapSingle(address, 64, 'from-device', DONE);
    },
    right({ dma }) {
      const address = dma.mapSingle(BUFFER, 64, 'bidirectional', FRAME);
      dma.syncSingleForCpu(address, 64, 'from-device', 'rot: look');
      dma.syncSingleForDevice(address, 64, 'to-device', 'rot: go');
      dma.unmapSingle(address, 64, 'bidirectional', DONE);
    },
  },
  'sync-for-cpu-of-to-device': {
    wrong({ dma }) {
      const address = dma.mapSingle(BUFFER, 64, 'to-device', FRAME);
      dma.syncSingleForCpu(address, 64, 'from-device', 'rot: look');
      dma.unmapSingle(address, 64, 'to-device', DONE);
    },
    right({ dma, store }) {
      // To fill it again the CPU takes it and gives it back.
      const address = dma.mapSingle(BUFFER, 64, 'to-device', FRAME);
      dma.syncSingleForCpu(address, 64, 'to-device', 'rot: refill');
      store(BUFFER, 64);
      dma.syncSingleForDevice(address, 64, 'to-device', 'rot: go');
      dma.unmapSingle(address, 64, 'to-device', DONE);
    },
  },
  'sync-for-device-of-from-device': {
    wrong({ dma }) {
      const address = dma.mapSingle(BUFFER, 64, 'from-device', FRAME);
      dma.syncSingleForDevice(address, 64, 'to-device', 'rot: go');
      dma.unmapSingle(address, 64, 'from-device', DONE);
    },
    right({ dma }) {
      const address = dma.mapSingle(BUFFER, 64, 'from-device', FRAME);
      dma.syncSingleForDevice(address, 64, 'from-device', 'rot: go');
      dma.unmapSingle(address, 64, 'from-device', DONE);
    },
  },
  'sync-wrong-count': {
    wrong({ dma }) {
      const segments = dma.mapSg(LIST, 'from-device', FRAME);
      dma.syncSgForCpu(segments.slice(0, 1), 'from-device', 'rot: look');
      dma.unmapSg(segments, 'from-device', DONE);
    },
    right({ dma }) {
      const table = { entries: LIST, segments: [] };
      dma.mapSgTable(table, 'from-device', FRAME);
      dma.syncSgTableForCpu(table, 'from-device', 'rot: look');
      dma.unmapSgTable(table, 'from-device', DONE);
    },
  },
  'left-at-release': {
    leaves: true,
    wrong({ dma, debug, device }) {
      dma.mapSingle(BUFFER, 64, 'to-device', FRAME);
      dma.mapSingle(SECOND, 64, 'to-device', FRAME);
      dma.allocCoherent(4096, { site: 'rot: commands' });
      debug.released(device);
    },
    right({ dma, debug, device }) {
      const address = dma.mapSingle(BUFFER, 64, 'to-device', FRAME);
      const buffer = dma.allocCoherent(4096, { site: 'rot: commands' });
      dma.unmapSingle(address, 64, 'to-device', DONE);
      dma.freeCoherent(buffer, DONE);
      debug.released(device);
    },
  },
  'out-of-entries': {
    scene: { debug: { maxEntries: 2 } },
    wrong({ dma }) {
      const ring = [0, 64, 128].map((offset) => dma.mapSingle(at(BUFFER, offset), 64, 'to-device', FRAME));
      for (const address of ring) dma.unmapSingle(address, 64, 'to-device', DONE);
    },
    right({ dma }) {
      for (let i = 0; i < 5; i++) {
        const ring = [0, 64].map((offset) => dma.mapSingle(at(BUFFER, offset), 64, 'to-device', FRAME));
        for (const address of ring) dma.unmapSingle(address, 64, 'to-device', DONE);
      }
    },
  },
  'resource-is-memory': {
    wrong({ dma }) {
      const address = dma.mapResource(BUFFER, 64, 'to-device', { ...FRAME, errorAsValue: true });
      if (!dma.mappingError(address)) dma.unmapResource(address, 64, 'to-device', DONE);
    },
    right({ dma }) {
      const address = dma.mapResource(REGISTERS, 64, 'to-device', { ...FRAME, errorAsValue: true });
      if (!dma.mappingError(address)) dma.unmapResource(address, 64, 'to-device', DONE);
    },
  },
  'page-is-device-private': {
    wrong({ dma }) {
      const address = dma.mapPage(PRIVATE, 0, 64, 'to-device', { ...FRAME, errorAsValue: true });
      if (!dma.mappingError(address)) dma.unmapPage(address, 64, 'to-device', DONE);
    },
    right({ dma }) {
      const address = dma.mapPage(BUFFER, 0, 64, 'to-device', { ...FRAME, errorAsValue: true });
      if (!dma.mappingError(address)) dma.unmapPage(address, 64, 'to-device', DONE);
    },
  },
  'cpu-store-while-device-owns': {
    wrong({ dma, store }) {
      const address = dma.mapSingle(BUFFER, 64, 'to-device', FRAME);
      store(at(BUFFER, 60), 8);
      dma.unmapSingle(address, 64, 'to-device', DONE);
    },
    right({ dma, store }) {
      store(BUFFER, 64);
      const address = dma.mapSingle(BUFFER, 64, 'to-device', FRAME);
      store(at(BUFFER, 64), 8);
      dma.unmapSingle(address, 64, 'to-device', DONE);
      store(BUFFER, 64);
    },
  },
  'cpu-load-while-device-owns': {
    wrong({ dma, load, write }) {
      const address = dma.mapSingle(BUFFER, 64, 'from-device', FRAME);
      write(address, 64);
      load(BUFFER, 4);
      dma.unmapSingle(address, 64, 'from-device', DONE);
    },
    right({ dma, load, write, read }) {
      const address = dma.mapSingle(BUFFER, 64, 'from-device', FRAME);
      for (let i = 0; i < 2; i++) {
        write(address, 64);
        // What the CPU only looks at needs no sync back.
        dma.syncSingleForCpu(address, 64, 'from-device', 'rot: look');
        load(BUFFER, 64);
      }
      dma.unmapSingle(address, 64, 'from-device', DONE);
      load(BUFFER, 64);
      const source = dma.mapSingle(SECOND, 64, 'to-device', FRAME);
      load(SECOND, 64);
      read(source, 64);
      dma.unmapSingle(source, 64, 'to-device', DONE);
    },
  },
  'missing-sync-for-device': {
    wrong({ dma, store, read }) {
      const address = dma.mapSingle(BUFFER, 64, 'to-device', FRAME);
      dma.syncSingleForCpu(address, 64, 'to-device', 'rot: refill');
      store(at(BUFFER, 16), 8);
      read(address, 64);
      dma.unmapSingle(address, 64, 'to-device', DONE);
    },
    right({ dma, store, read }) {
      const address = dma.mapSingle(BUFFER, 64, 'to-device', FRAME);
      dma.syncSingleForCpu(address, 64, 'to-device', 'rot: refill');
      store(at(BUFFER, 16), 8);
      dma.syncSingleForDevice(at(address, 16), 8, 'to-device', 'rot: go');
      read(address, 64);
      // The device never sees these: nothing is lost.
      dma.syncSingleForCpu(address, 64, 'to-device', 'rot: refill');
      store(BUFFER, 64);
      dma.unmapSingle(address, 64, 'to-device', DONE);
    },
  },
  'neighbour-in-line': {
    wrong({ dma, store }) {
      const address = dma.mapSingle(at(BUFFER, 16), 64, 'from-device', FRAME);
      store(at(BUFFER, 80), 4);
      dma.unmapSingle(address, 64, 'from-device', DONE);
    },
    right({ dma, store, load, addDevice }) {
      const address = dma.mapSingle(at(BUFFER, 32), 64, 'from-device', FRAME);
      store(BUFFER, 32);
      store(at(BUFFER, 96), 4);
      dma.unmapSingle(address, 64, 'from-device', DONE);
      // Looking dirties nothing, a device that only reads loses nothing, one that snoops sees it.
      const other = dma.mapSingle(at(BUFFER, 16), 64, 'from-device', FRAME);
      load(BUFFER, 4);
      dma.unmapSingle(other, 64, 'from-device', DONE);
      const reader = dma.mapSingle(at(BUFFER, 16), 64, 'to-device', FRAME);
      store(BUFFER, 4);
      dma.unmapSingle(reader, 64, 'to-device', DONE);
      const gpu = addDevice('gpu', { isDmaCoherent: true });
      const snooping = gpu.dma.mapSingle(at(BUFFER, 16), 64, 'from-device');
      store(BUFFER, 4);
      gpu.dma.unmapSingle(snooping, 64, 'from-device');
    },
  },
  'cached-access-to-coherent': {
    wrong({ dma, load }) {
      const buffer = dma.allocCoherent(4096, { site: 'rot: commands' });
      const [memory] = dma.getSgTable(buffer).entries;
      load(memory?.address ?? 0, 4);
      dma.freeCoherent(buffer, DONE);
    },
    right({ dma, read, write }) {
      const buffer = dma.allocCoherent(4096, { site: 'rot: commands' });
      buffer.write32(0, 1);
      write(buffer.dmaAddress, 64);
      buffer.read32(0);
      read(buffer.dmaAddress, 64);
      dma.freeCoherent(buffer, DONE);
    },
  },
  'cpu-use-of-freed-coherent': {
    wrong({ dma }) {
      const buffer = dma.allocCoherent(4096, { site: 'rot: commands' });
      dma.freeCoherent(buffer, DONE);
      useFreed(buffer);
    },
    right({ dma }) {
      const buffer = dma.allocCoherent(4096, { site: 'rot: commands' });
      buffer.write32(0, 1);
      dma.freeCoherent(buffer, DONE);
    },
  },
  'device-use-of-freed-coherent': {
    wrong({ dma, read, wait }) {
      const buffer = dma.allocCoherent(4096, { site: 'rot: commands' });
      dma.freeCoherent(buffer, DONE);
      wait(1000);
      read(buffer.dmaAddress, 64);
    },
    right({ dma, read }) {
      const buffer = dma.allocCoherent(4096, { site: 'rot: commands' });
      read(buffer.dmaAddress, 64);
      dma.freeCoherent(buffer, DONE);
    },
  },
  'device-use-after-unmap': {
    wrong({ dma, write, wait }) {
      const address = dma.mapSingle(BUFFER, 64, 'from-device', FRAME);
      dma.unmapSingle(address, 64, 'from-device', DONE);
      wait(2000);
      write(address, 64);
    },
    right({ dma, write }) {
      // The address was somebody else's before; that is over.
      for (let i = 0; i < 2; i++) {
        const address = dma.mapSingle(BUFFER, 64, 'from-device', FRAME);
        write(address, 64);
        dma.unmapSingle(address, 64, 'from-device', DONE);
      }
    },
  },
  'access-in-lazy-window': {
    scene: { path: 'lazy' },
    wrong({ dma, write, wait }) {
      const address = dma.mapSingle(BUFFER, 64, 'from-device', FRAME);
      write(address, 64);
      dma.unmapSingle(address, 64, 'from-device', DONE);
      wait(3000);
      write(address, 64);
    },
    right({ dma, write }) {
      const address = dma.mapSingle(BUFFER, 64, 'from-device', FRAME);
      write(address, 64);
      dma.unmapSingle(address, 64, 'from-device', DONE);
    },
  },
  'device-wrote-to-device-only': {
    wrong({ dma, write }) {
      const address = dma.mapSingle(BUFFER, 64, 'to-device', FRAME);
      write(address, 4);
      dma.unmapSingle(address, 64, 'to-device', DONE);
    },
    right({ dma, write, read }) {
      const address = dma.mapSingle(BUFFER, 64, 'bidirectional', FRAME);
      write(address, 64);
      read(address, 64);
      dma.unmapSingle(address, 64, 'bidirectional', DONE);
    },
  },
  'device-read-of-from-device': {
    scene: { path: 'direct' },
    wrong({ dma, read }) {
      const address = dma.mapSingle(BUFFER, 64, 'from-device', FRAME);
      read(address, 4);
      dma.unmapSingle(address, 64, 'from-device', DONE);
    },
    right({ dma, read, write }) {
      // Mapped twice, once for each direction: either allows the access.
      const target = dma.mapSingle(BUFFER, 64, 'from-device', FRAME);
      const source = dma.mapSingle(BUFFER, 64, 'to-device', FRAME);
      write(target, 64);
      read(source, 64);
      dma.unmapSingle(source, 64, 'to-device', DONE);
      dma.unmapSingle(target, 64, 'from-device', DONE);
    },
  },
  'device-access-never-mapped': {
    wrong({ read }) {
      // The driver wrote a physical address into the register.
      read(BUFFER, 64);
    },
    right({ dma, read, device }) {
      const address = dma.mapSingle(BUFFER, 64, 'to-device', FRAME);
      read(address, 64);
      dma.unmapSingle(address, 64, 'to-device', DONE);
      // What firmware uses is mapped by nobody.
      device.reservedRegions = [{ name: 'splash', kind: 'direct', iova: SECOND, sizeBytes: 4096 }];
      read(SECOND, 64);
    },
  },
  'device-access-out-of-mapping': {
    wrong({ dma, write }) {
      const address = dma.mapSingle(BUFFER, 64, 'from-device', FRAME);
      write(address, 128);
      dma.unmapSingle(address, 64, 'from-device', DONE);
    },
    right({ dma, write }) {
      // Two mappings that meet.
      const first = dma.mapSingle(BUFFER, 64, 'from-device', FRAME);
      const second = dma.mapSingle(at(BUFFER, 64), 64, 'from-device', FRAME);
      write(first, 64);
      write(second, 64);
      dma.unmapSingle(first, 64, 'from-device', DONE);
      dma.unmapSingle(second, 64, 'from-device', DONE);
    },
  },
  'iova-outside': {
    wrong({ dma }) {
      const space = reserve(dma);
      attempt(() => dma.linkIova(space, SECOND, 4096, 8192, 'to-device', { site: 'rot: second half' }));
      dma.freeIova(space, 'rot: done');
    },
    right({ dma }) {
      const space = reserve(dma);
      dma.linkIova(space, SECOND, 4096, 4096, 'to-device', { site: 'rot: second half' });
      dma.unlinkIova(space, 4096, 4096, 'to-device', DONE);
      dma.freeIova(space, 'rot: done');
    },
  },
  'iova-link-over-linked': {
    wrong({ dma }) {
      const space = reserve(dma);
      dma.linkIova(space, BUFFER, 0, 4096, 'to-device', { site: 'rot: first half' });
      attempt(() => dma.linkIova(space, SECOND, 0, 4096, 'to-device', { site: 'rot: second half' }));
      dma.destroyIova(space, 4096, 'to-device', DONE);
    },
    right({ dma }) {
      const space = reserve(dma);
      dma.linkIova(space, BUFFER, 0, 4096, 'to-device', { site: 'rot: first half' });
      dma.linkIova(space, SECOND, 4096, 4096, 'to-device', { site: 'rot: second half' });
      // A piece may go and come again.
      dma.unlinkIova(space, 0, 4096, 'to-device', DONE);
      dma.linkIova(space, BUFFER, 0, 4096, 'to-device', { site: 'rot: first half' });
      dma.destroyIova(space, 8192, 'to-device', DONE);
    },
  },
  'iova-access-before-sync': {
    wrong({ dma, read }) {
      const space = reserve(dma);
      dma.linkIova(space, BUFFER, 0, 4096, 'to-device', FRAME);
      read(space.address, 64);
      dma.destroyIova(space, 4096, 'to-device', DONE);
    },
    right({ dma, read }) {
      const space = reserve(dma);
      dma.linkIova(space, BUFFER, 0, 4096, 'to-device', FRAME);
      dma.linkIova(space, SECOND, 4096, 4096, 'to-device', FRAME);
      dma.syncIova(space, 0, 8192, 'rot: go');
      read(space.address, 4096);
      dma.destroyIova(space, 8192, 'to-device', DONE);
    },
  },
  'iova-unlink-not-linked': {
    wrong({ dma }) {
      const space = reserve(dma);
      dma.linkIova(space, BUFFER, 0, 4096, 'to-device', FRAME);
      dma.unlinkIova(space, 0, 8192, 'to-device', DONE);
      dma.freeIova(space, 'rot: done');
    },
    right({ dma }) {
      const space = reserve(dma);
      dma.linkIova(space, BUFFER, 0, 4096, 'to-device', FRAME);
      dma.linkIova(space, SECOND, 4096, 4096, 'to-device', FRAME);
      dma.unlinkIova(space, 0, 8192, 'to-device', DONE);
      dma.freeIova(space, 'rot: done');
    },
  },
  'iova-destroy-wrong-length': {
    wrong({ dma }) {
      const space = reserve(dma);
      dma.linkIova(space, BUFFER, 0, 4096, 'to-device', FRAME);
      dma.linkIova(space, SECOND, 4096, 4096, 'to-device', FRAME);
      dma.destroyIova(space, 4096, 'to-device', DONE);
    },
    right({ dma }) {
      const space = reserve(dma);
      dma.linkIova(space, BUFFER, 0, 4096, 'to-device', FRAME);
      dma.linkIova(space, SECOND, 4096, 4096, 'to-device', FRAME);
      dma.destroyIova(space, 8192, 'to-device', DONE);
      dma.destroyIova(reserve(dma), 0, 'to-device', DONE);
    },
  },
  'iova-free-while-linked': {
    wrong({ dma }) {
      const space = reserve(dma);
      dma.linkIova(space, BUFFER, 0, 4096, 'to-device', FRAME);
      dma.freeIova(space, 'rot: done');
    },
    right({ dma }) {
      dma.freeIova(reserve(dma), 'rot: done');
    },
  },
  'iova-use-after-destroy': {
    wrong({ dma }) {
      const space = reserve(dma);
      dma.freeIova(space, 'rot: error path');
      dma.destroyIova(space, 0, 'to-device', { site: 'rot: remove' });
    },
    right({ dma }) {
      const space = reserve(dma);
      dma.linkIova(space, BUFFER, 0, 4096, 'to-device', FRAME);
      dma.unlinkIova(space, 0, 4096, 'to-device', DONE);
      dma.destroyIova(space, 0, 'to-device', { site: 'rot: remove' });
    },
  },
  'iova-left-at-release': {
    leaves: true,
    wrong({ dma, debug, device }) {
      dma.linkIova(reserve(dma), BUFFER, 0, 4096, 'to-device', FRAME);
      debug.released(device);
    },
    right({ dma, debug, device }) {
      const space = reserve(dma);
      dma.linkIova(space, BUFFER, 0, 4096, 'to-device', FRAME);
      dma.destroyIova(space, 4096, 'to-device', DONE);
      debug.released(device);
    },
  },
};

function reserve(dma: Scene['dma']): NonNullable<ReturnType<Scene['dma']['tryAllocIova']>> {
  const space = dma.tryAllocIova(BUFFER, 8192, 'rot: two halves');
  if (space === undefined) throw new Error('no IOVA space');
  return space;
}

/** The driver is told that it did wrong, and goes on. */
function attempt(call: () => void): void {
  try {
    call();
  } catch {
    // As expected.
  }
}

function useFreed(buffer: CoherentBuffer): void {
  attempt(() => buffer.read32(0));
}
