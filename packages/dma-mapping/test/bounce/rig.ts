/** A pool with memory around it, and what the tests ask of both. */
import { LabError, type PhysAddr, PhysicalMemory, World } from '@iommu-lab/machine';
import { BouncePool, type BouncePoolOptions } from '../../src/bounce/bounce-pool.ts';
import type { BounceRequest } from '../../src/bounce/bounce-slot.ts';
import type { FrameSource } from '../../src/ports.ts';

export const KIB = 1024;
export const MIB: number = 1024 * KIB;
/** Memory for buffers; the pool's is elsewhere. */
export const BUFFERS = 0x40000000;
export const BUFFER_BYTES: number = MIB / 2;
/** Where the frames begin: a multiple of 1 MiB. */
export const FRAMES = 0x80000000;

/** Fake frames: the lowest fitting run, and a list of what is out. */
export class FakeFrames implements FrameSource {
  readonly #end: number;
  /** Bytes that are out, by address. */
  readonly out: Map<number, number> = new Map();

  constructor(sizeBytes: number) {
    this.#end = FRAMES + sizeBytes;
  }

  get outBytes(): number {
    return [...this.out.values()].reduce((sum, bytes) => sum + bytes, 0);
  }

  allocate(): PhysAddr {
    return this.allocateContiguous(4096, 4096);
  }

  allocateContiguous(sizeBytes: number, alignBytes: number): PhysAddr {
    if (sizeBytes % 4096 !== 0) throw new Error('whole frames');
    for (
      let at = Math.ceil(FRAMES / alignBytes) * alignBytes;
      at + sizeBytes <= this.#end;
      at += alignBytes
    ) {
      const isFree = [...this.out].every(([base, bytes]) => at + sizeBytes <= base || at >= base + bytes);
      if (isFree) {
        this.out.set(at, sizeBytes);
        return at as PhysAddr;
      }
    }
    throw new LabError('ENOMEM', 'no frames');
  }

  free(address: PhysAddr, sizeBytes: number = 4096): void {
    if (this.out.get(address) !== sizeBytes) throw new Error('freed what is not out');
    this.out.delete(address);
  }
}

export interface Rig {
  readonly world: World;
  readonly memory: PhysicalMemory;
  readonly frames: FakeFrames;
  readonly pool: BouncePool;
  readonly read: (address: number, length: number) => number[];
  readonly write: (address: number, bytes: readonly number[]) => void;
}

/** @param frameBytes memory that the pool can have; 4 MiB unless given */
export function makeRig(options: BouncePoolOptions = {}, frameBytes: number = 4 * MIB): Rig {
  const world = new World();
  const memory = new PhysicalMemory([
    { base: BUFFERS, sizeBytes: BUFFER_BYTES },
    { base: FRAMES, sizeBytes: frameBytes },
  ]);
  const frames = new FakeFrames(frameBytes);
  return {
    world,
    memory,
    frames,
    pool: new BouncePool(world, frames, memory, options),
    read: (address, length) => {
      const bytes = new Uint8Array(length);
      memory.read(address as PhysAddr, bytes);
      return [...bytes];
    },
    write: (address, bytes) => {
      memory.write(address as PhysAddr, Uint8Array.from(bytes));
    },
  };
}

/** A request of a device that reaches everything but must bounce, at a buffer of its own. */
export function request(changes: Partial<Record<keyof BounceRequest, unknown>> = {}): BounceRequest {
  return {
    original: BUFFERS,
    sizeBytes: 64,
    reason: 'forced',
    site: 'camera: frame',
    deviceName: 'camera',
    direction: 'from-device',
    limit: Number.MAX_SAFE_INTEGER,
    allocAlignMask: 0,
    minAlignMask: 0,
    segmentBoundaryMask: 0xffffffff,
    ...changes,
  } as BounceRequest;
}

/** `length` bytes that tell where they are. */
export function pattern(length: number, seed: number): number[] {
  return Array.from({ length }, (_, i) => (i * 7 + (i >> 8) * 13 + seed) & 0xff);
}
