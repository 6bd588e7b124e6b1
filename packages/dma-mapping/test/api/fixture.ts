/** A machine with as many devices as a test wants, each direct or behind an IOMMU of its own or a shared one. */
import { Device, type DmaRange, type ReservedRegion } from '@iommu-lab/driver-core';
import { type DefaultDomainKind, Iommu } from '@iommu-lab/iommu-core';
import { FrameAllocator } from '@iommu-lab/kernel-mm';
import {
  BusMaster,
  type BusPort,
  type CacheMaintenance,
  CpuCache,
  type Iova,
  type LabEvent,
  type MemoryPort,
  type PhysAddr,
  PhysicalMemory,
  World,
} from '@iommu-lab/machine';
import {
  BouncePool,
  DmaLayer,
  type DmaOps,
  type DmaWiring,
  type FlushQueueOptions,
  getDmaOps,
} from '../../src/index.ts';
import type { FlatIommu } from '../support/flat-iommu.ts';
import { type CountingIommu, countingIommu } from './counting-iommu.ts';
import { WindowPort } from './window-port.ts';

export const PAGE = 4096;
/** First byte of memory that no allocator hands out; tests place their buffers there. */
export const ARENA = 0x40000000 as PhysAddr;
export const ARENA_BYTES = 0x80000;
const FRAMES_BYTES = 0x80000;
/** Low frames, for a bounce pool that a device reaches which does not reach `HIGH`. */
export const LOW_FRAMES: { readonly base: number; readonly sizeBytes: number } = {
  base: ARENA as number,
  sizeBytes: ARENA_BYTES,
};
export const HIGH: PhysAddr = (ARENA + ARENA_BYTES) as PhysAddr;
/** Another device's FIFO: a page of registers outside RAM. */
export const FIFO = 0x10000000 as PhysAddr;
/** The last granule below a power of two is never handed out, so this is where the first page lies. */
export const FIRST_IOVA: number = 2 ** 32 - 2 * PAGE;

export interface MachineOptions {
  readonly seed?: number;
  /** How often the cache does what nobody asked for; never unless given. */
  readonly restless?: boolean;
  readonly defaultDomain?: DefaultDomainKind;
  /** Where memory is handed out; behind the arena unless given. */
  readonly frames?: { readonly base: number; readonly sizeBytes: number };
  /** Size of a bounce pool out of those frames; none unless given. */
  readonly bounceBytes?: number;
  readonly wiring?: Partial<DmaWiring>;
}

export interface DeviceSetup {
  /** Its IOMMU's name, shared by all devices that give the same; `direct`: none. One of its own unless given. */
  readonly behind?: string;
  readonly granule?: number;
  readonly aperture?: { readonly start: number; readonly last: number };
  readonly isCoherent?: boolean;
  readonly isUntrusted?: boolean;
  readonly dmaRanges?: readonly DmaRange[];
  readonly busDmaLimit?: number;
  readonly dmaMask?: number;
  readonly reservedRegions?: readonly ReservedRegion[];
}

export interface Attached {
  readonly device: Device;
  readonly dma: DmaOps;
  /** What the device reads; undefined when an access faulted. */
  readonly read: (address: number, sizeBytes: number) => Uint8Array | undefined;
  /** Whether no access faulted. */
  readonly write: (address: number, bytes: Uint8Array) => boolean;
}

export class Machine {
  readonly world: World;
  readonly memory: PhysicalMemory;
  readonly cache: CpuCache;
  readonly frames: FrameAllocator;
  readonly iommu: Iommu;
  readonly layer: DmaLayer;
  readonly bounce: BouncePool | undefined;
  readonly events: LabEvent[] = [];
  /** Cache maintenance so far: `clean 40000000+40`. */
  readonly maintenance: string[] = [];
  readonly #behind = new Map<string, CountingIommu>();

  constructor(options: MachineOptions = {}) {
    const oneIn = options.restless === true ? 3 : 0;
    this.world = new World({ seed: options.seed ?? 1 });
    this.memory = new PhysicalMemory([
      { base: FIFO, sizeBytes: PAGE },
      { base: ARENA, sizeBytes: ARENA_BYTES + FRAMES_BYTES },
    ]);
    this.cache = new CpuCache(this.world, this.memory, {
      lineBytes: 32,
      sets: 64,
      ways: 4,
      evictOneIn: oneIn,
      speculateOneIn: oneIn,
    });
    this.frames = new FrameAllocator(this.world, [
      options.frames ?? { base: ARENA + ARENA_BYTES, sizeBytes: FRAMES_BYTES },
    ]);
    this.bounce =
      options.bounceBytes === undefined
        ? undefined
        : new BouncePool(this.world, this.frames, this.cache.cached, { sizeBytes: options.bounceBytes });
    this.iommu = new Iommu(this.world, { defaultDomain: options.defaultDomain ?? 'dma' });
    this.layer = new DmaLayer(this.world, {
      iommu: this.iommu,
      frames: this.frames,
      memory: this.cache,
      maintenance: this.#logged(),
      firstRamAddress: ARENA,
      lastRamAddress: ARENA + ARENA_BYTES + FRAMES_BYTES - 1,
      ...(this.bounce && { bounce: this.bounce }),
      ...options.wiring,
    });
    this.world.events.subscribe((event) => this.events.push(event));
  }

  /** A device that has been configured for a driver. `layer`: another one than the machine's. */
  add(name: string, setup: DeviceSetup = {}, layer: DmaLayer = this.layer): Attached {
    const { isCoherent = false, isUntrusted = false, behind = name } = setup;
    const device = new Device(name, { isDmaCoherent: isCoherent, isUntrusted });
    device.dmaRanges = setup.dmaRanges ?? [];
    device.reservedRegions = setup.reservedRegions ?? [];
    if (setup.busDmaLimit !== undefined) device.busDmaLimit = setup.busDmaLimit;
    if (setup.dmaMask !== undefined) device.dmaMask = setup.dmaMask;
    const seen = isCoherent ? this.cache.snooped : this.memory;
    let port: BusPort = new WindowPort(seen, device.dmaRanges);
    if (behind !== 'direct') {
      device.endpoints = [{ provider: behind, context: name, streamIds: [0] }];
      port = this.#iommuNamed(behind, seen, setup);
    }
    this.iommu.configure(device);
    layer.configure(device);
    const master = new BusMaster(this.world, { name, streamId: 0, port });
    return {
      device,
      dma: getDmaOps(device),
      read: (address, sizeBytes) => {
        const bytes = new Uint8Array(sizeBytes);
        return master.read(address, bytes).state === 'done' ? bytes : undefined;
      },
      write: (address, bytes) => master.write(address, bytes).state === 'done',
    };
  }

  /** Its driver goes. */
  remove({ device }: Attached, layer: DmaLayer = this.layer): void {
    layer.cleanup(device);
    this.iommu.cleanup(device);
  }

  /** How often the IOMMU `name` was told to forget something. */
  invalidations(name: string): number {
    return this.#behind.get(name)?.invalidations ?? 0;
  }

  cpuRead(address: number, sizeBytes: number): Uint8Array {
    const bytes = new Uint8Array(sizeBytes);
    this.cache.cached.read(address as PhysAddr, bytes);
    return bytes;
  }

  cpuWrite(address: number, bytes: Uint8Array): void {
    this.cache.cached.write(address as PhysAddr, bytes);
  }

  /** What memory holds, whatever the cache does. */
  memoryAt(address: number, sizeBytes: number): Uint8Array {
    const bytes = new Uint8Array(sizeBytes);
    this.memory.read(address as PhysAddr, bytes);
    return bytes;
  }

  namesOf(prefix: string): string[] {
    return this.events.map(({ name }) => name).filter((name) => name.startsWith(prefix));
  }

  #iommuNamed(name: string, seen: MemoryPort, { granule, aperture }: DeviceSetup): FlatIommu {
    const there = this.#behind.get(name);
    if (there !== undefined) return there.flat;
    const behind = countingIommu(this.world, seen, name, { granule, aperture });
    this.#behind.set(name, behind);
    this.iommu.registerInstance(behind.flat);
    return behind.flat;
  }

  #logged(): CacheMaintenance {
    const { cache, maintenance } = this;
    const logged =
      (what: 'clean' | 'invalidate' | 'cleanInvalidate') =>
      (start: PhysAddr, sizeBytes: number): void => {
        maintenance.push(`${what} ${start.toString(16)}+${sizeBytes.toString(16)}`);
        cache[what](start, sizeBytes);
      };
    return {
      lineBytes: cache.lineBytes,
      clean: logged('clean'),
      invalidate: logged('invalidate'),
      cleanInvalidate: logged('cleanInvalidate'),
    };
  }
}

/** A machine that defers invalidations. */
export function deferredMachine(flushQueue?: Partial<FlushQueueOptions>, cpus: number = 1): Machine {
  return new Machine({ wiring: { invalidation: 'deferred', cpus, ...(flushQueue && { flushQueue }) } });
}

/** Maps a page, lets the device read it so that its IOMMU remembers, and unmaps it. @returns where it was */
export function useOnce({ dma, read }: Attached, sizeBytes: number = PAGE): Iova {
  const address = dma.mapSingle(ARENA, sizeBytes, 'bidirectional');
  if (read(address, sizeBytes) === undefined) throw new Error('mapped, and out of reach');
  dma.unmapSingle(address, sizeBytes, 'bidirectional');
  return address;
}

export function filled(sizeBytes: number, value: number): Uint8Array {
  return new Uint8Array(sizeBytes).fill(value);
}

/** Bytes that tell their place: each differs from its neighbours'. */
export function pattern(sizeBytes: number, seed: number): Uint8Array {
  return Uint8Array.from({ length: sizeBytes }, (_, i) => (seed + i * 7 + (i >> 8)) & 0xff);
}
