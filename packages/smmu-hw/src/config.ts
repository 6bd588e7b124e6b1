/** What differs from instance to instance: its geometry, and how it reads what the public sources leave open. */
import { LabError, isPowerOfTwo } from '@iommu-lab/machine';
import { resolveReadings, type Readings } from './readings.ts';
import { MAX_CONTEXT_BANKS, MAX_STREAMS } from './regs/index.ts';

/** One instance, as the board describes it. */
export interface MsmSmmuConfig {
  /** Name in events and messages. */
  readonly name: string;
  /** Number of context banks, 1..255; the MSM8x60 instances have 2 or 3. */
  readonly contextBanks: number;
  /** Number of machine ids that can be routed (M2VCBR entries), 1..512; 32 unless given. */
  readonly streams?: number;
  /** TLB entries, up to 256 (the index has 8 bits); 64 unless given. Open point 8. */
  readonly tlbEntries?: number;
  /** Ways of a TLB set; entries / ways must be a power of two; 4 unless given. Open point 8. */
  readonly tlbWays?: number;
  /** Which way of a full set is replaced; `round-robin` unless given. Open point 8. */
  readonly tlbReplacement?: 'round-robin' | 'random';
  /**
   * Blocks of the block fetch buffer at each level of the tables, 0..16 (the victim fields have 4 bits); 0 = there is
   * none, unless given. It is used by banks whose BFBCR.BFBDFE is 1 (R26, R60). Open point 8.
   */
  readonly fetchBlocks?: number;
  /** REV, 0..255; 0 unless given. Open point 1. */
  readonly revision?: number;
  /** Emits `smmu:translate` for each access that is translated; false unless given. For looking at single accesses, not for load. */
  readonly traceAccesses?: boolean;
  /** How open points are read; the defaults of `OPEN_POINTS` unless given. */
  readonly readings?: Partial<Readings>;
}

/** The configuration with every choice made. */
export interface ResolvedConfig extends Required<MsmSmmuConfig> {
  readonly readings: Readings;
}

/** Fills in the defaults. @throws LabError EINVAL on what the register layout or the TLB cannot hold, or no reading. */
export function resolveConfig(config: MsmSmmuConfig): ResolvedConfig {
  const resolved: ResolvedConfig = {
    streams: 32,
    tlbEntries: 64,
    tlbWays: 4,
    tlbReplacement: 'round-robin',
    fetchBlocks: 0,
    revision: 0,
    traceAccesses: false,
    ...given(config),
    readings: resolveReadings(config.readings),
  };
  const { name, contextBanks, streams, tlbEntries, tlbWays, tlbReplacement, fetchBlocks, revision } =
    resolved;
  if (!isCount(contextBanks, MAX_CONTEXT_BANKS) || !isCount(streams, MAX_STREAMS)) {
    throw new LabError('EINVAL', `${name}: 1..255 context banks and 1..512 streams fit the register window`, {
      contextBanks,
      streams,
    });
  }
  if (!isCount(tlbEntries, 256) || !isCount(tlbWays, tlbEntries) || !isPowerOfTwo(tlbEntries / tlbWays)) {
    throw new LabError('EINVAL', `${name}: a TLB of up to 256 entries in a power of two of sets`, {
      tlbEntries,
      tlbWays,
    });
  }
  if (!['round-robin', 'random'].includes(tlbReplacement) || !(revision === 0 || isCount(revision, 0xff))) {
    throw new LabError('EINVAL', `${name}: replacement is round-robin or random, revision 0..255`, {
      tlbReplacement,
      revision,
    });
  }
  if (fetchBlocks !== 0 && !isCount(fetchBlocks, 16)) {
    throw new LabError('EINVAL', `${name}: the block fetch buffer has 0..16 blocks a level`, { fetchBlocks });
  }
  return resolved;
}

/** Without what is undefined: that is not given. */
function given(config: MsmSmmuConfig): MsmSmmuConfig {
  const entries = Object.entries(config).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as unknown as MsmSmmuConfig;
}

function isCount(value: number, max: number): boolean {
  return Number.isInteger(value) && value >= 1 && value <= max;
}
