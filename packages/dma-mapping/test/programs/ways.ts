/** All ways from a driver's call to memory. */
import type { DmaParameters } from '@iommu-lab/driver-core';
import type { CacheGeometry } from '@iommu-lab/machine';
import { ARENA, BELOW_ARENA, LOW, LOW_BYTES, type SystemOptions } from '../support/system.ts';

export interface Way extends SystemOptions {
  readonly name: string;
  /** Bytes that a device was to write and did not are as they were. */
  readonly keepsUnwritten: boolean;
  /** A map that requires coherence: what it says, of memory in whole pages or not. */
  readonly refusal: { readonly whole: string; readonly other: string };
  /** What the device's DMA engine asks. */
  readonly parameters?: Partial<DmaParameters>;
}

function cacheOf(lineBytes: number): Partial<CacheGeometry> {
  return { sets: 512 / lineBytes, ways: 2, lineBytes, evictOneIn: 3, speculateOneIn: 2 };
}

type Kind = SystemOptions & {
  readonly name: string;
  readonly lineBytes: number;
  readonly isBounced?: boolean;
  readonly parameters?: Partial<DmaParameters>;
};

const POOL = { sizeBytes: 0x80000, cpus: 2 };
const ARENA_WINDOW = { busStart: 0x80000000, cpuStart: ARENA, sizeBytes: 0x40000 };
const KINDS: readonly Kind[] = [
  { name: 'direct', path: 'direct', lineBytes: 32 },
  { name: 'direct, moved by the bus', path: 'direct', lineBytes: 16, dmaRanges: [ARENA_WINDOW] },
  {
    name: 'direct, moved to bus address 0',
    path: 'direct',
    lineBytes: 64,
    dmaRanges: [{ ...ARENA_WINDOW, busStart: 0 }],
  },
  { name: 'IOMMU, strict', path: 'iommu', lineBytes: 64 },
  {
    name: 'IOMMU, strict, short segments',
    path: 'iommu',
    lineBytes: 32,
    parameters: { maxSegmentBytes: 6000, segmentBoundaryMask: 0x3fff },
  },
  {
    name: 'IOMMU, strict, between windows',
    path: 'iommu',
    lineBytes: 16,
    dmaRanges: [
      { busStart: 0x100000, cpuStart: 0, sizeBytes: 0x40000 },
      { busStart: 0x800000, cpuStart: 0x800000, sizeBytes: 0x40000 },
    ],
  },
  { name: 'IOMMU, deferred', path: 'iommu', lineBytes: 32, invalidation: 'deferred', cpus: 3 },
  {
    name: 'IOMMU, deferred, rings of 3',
    path: 'iommu',
    lineBytes: 64,
    invalidation: 'deferred',
    cpus: 2,
    flushQueue: { entries: 3, timeoutNs: 2_000_000 },
    parameters: { maxSegmentBytes: 6000, segmentBoundaryMask: 0x3fff },
  },
  {
    name: 'bounced, forced',
    path: 'direct',
    lineBytes: 32,
    isBounced: true,
    bounce: POOL,
    forceBounce: true,
  },
  {
    name: 'bounced, forced, low bits kept',
    path: 'direct',
    lineBytes: 64,
    isBounced: true,
    bounce: POOL,
    forceBounce: true,
    parameters: { minAlignMask: 0xfff },
  },
  {
    name: 'bounced, out of reach of the mask',
    path: 'direct',
    lineBytes: 16,
    isBounced: true,
    bounce: { ...POOL, maxBytes: 0x100000 },
    mask: BELOW_ARENA,
  },
  {
    name: 'bounced, out of reach of the bus',
    path: 'direct',
    lineBytes: 32,
    isBounced: true,
    bounce: POOL,
    dmaRanges: [{ busStart: 0x80000000, cpuStart: LOW, sizeBytes: LOW_BYTES }],
  },
  { name: 'not trusted', path: 'iommu', lineBytes: 32, isUntrusted: true, bounce: POOL },
  {
    name: 'not trusted, deferred for others, short segments',
    path: 'iommu',
    lineBytes: 64,
    isUntrusted: true,
    bounce: POOL,
    invalidation: 'deferred',
    cpus: 2,
    parameters: { maxSegmentBytes: 6000, segmentBoundaryMask: 0x3fff },
  },
];

export const WAYS: readonly Way[] = KINDS.flatMap(({ lineBytes, isBounced = false, ...options }) =>
  [false, true].map((isCoherent) => ({
    ...options,
    name: `${options.name}, ${isCoherent ? 'coherent' : 'not coherent'}`,
    isCoherent,
    cache: cacheOf(lineBytes),
    keepsUnwritten: isCoherent || isBounced,
    refusal: refusalOf(isCoherent, isBounced, options.isUntrusted === true),
  })),
);

function refusalOf(isCoherent: boolean, isBounced: boolean, isUntrusted: boolean): Way['refusal'] {
  if (!isCoherent) return { whole: 'EOPNOTSUPP', other: 'EOPNOTSUPP' };
  const whole = isBounced ? 'EIO' : 'done';
  return { whole, other: isUntrusted ? 'EIO' : whole };
}
