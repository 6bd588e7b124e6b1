/**
 * What differs from instance to instance, and what the public sources leave open. Every open point that a model must
 * decide is a named choice here with the default the project stands by; MANUAL.md lists them beside the rules.
 */
import { LabError, isPowerOfTwo } from '@iommu-lab/machine';
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
   * Which bits of TTBR0 are the table base. `aligned-16k` (default, R35): always [31:14].
   * `by-ttbcr-n`: [31:14-N], as in the ARMv7 architecture.
   */
  readonly ttbr0Base?: 'aligned-16k' | 'by-ttbcr-n';
  /**
   * What CTX_TLBIALL drops. `vmid` (default, R21): every entry whose VMID is the bank's CBVMID.
   * `vmid-and-asid`: of those, the ones with the bank's ASID, and global ones. `bank`: the entries this bank loaded.
   * Open point 4.
   */
  readonly contextInvalidateScope?: 'vmid' | 'vmid-and-asid' | 'bank';
  /**
   * M2VCBR.VMID differs from CBACR.CBVMID. `allowed` (default): it translates, entries are tagged with the stream's
   * VMID. `global-error`: ESR.CFG, the access is terminated. Open point 4.
   */
  readonly vmidMismatch?: 'allowed' | 'global-error';
  /** Which value of RESUME.TNR terminates; 1 unless given (R51). Open point 5. */
  readonly resumeTerminates?: 0 | 1;
  /**
   * Whether clearing FSR.SS (through FSR or FSRRESTORE) ends a stall, by terminating; false unless given (R52).
   * Open point 5.
   */
  readonly clearingStallStatusReleases?: boolean;
  /**
   * M2VCBR.BYPASSD=1 on an access that would bypass. `global-error` (default): ESR.BYPASS, the access is terminated.
   * `ignored`: it passes. Open point 2.
   */
  readonly bypassDisable?: 'global-error' | 'ignored';
  /** REV; 0 unless given. Open point 1. */
  readonly revision?: number;
  /** Emits `smmu:translate` for each access; false unless given. For looking at single accesses, not for load. */
  readonly traceAccesses?: boolean;
}

/** The configuration with every choice made. */
export type ResolvedConfig = Required<MsmSmmuConfig>;

/** Fills in the defaults. @throws LabError EINVAL on counts the register layout or the TLB cannot hold. */
export function resolveConfig(config: MsmSmmuConfig): ResolvedConfig {
  const resolved: ResolvedConfig = {
    streams: 32,
    tlbEntries: 64,
    tlbWays: 4,
    tlbReplacement: 'round-robin',
    ttbr0Base: 'aligned-16k',
    contextInvalidateScope: 'vmid',
    vmidMismatch: 'allowed',
    resumeTerminates: 1,
    clearingStallStatusReleases: false,
    bypassDisable: 'global-error',
    revision: 0,
    traceAccesses: false,
    ...config,
  };
  const { name, contextBanks, streams, tlbEntries, tlbWays } = resolved;
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
  return resolved;
}

function isCount(value: number, max: number): boolean {
  return Number.isInteger(value) && value >= 1 && value <= max;
}
