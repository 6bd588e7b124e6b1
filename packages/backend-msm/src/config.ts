/** The driver's variant, as data. The default is correct; nothing in it imitates a historical driver. */
import { LabError } from '@iommu-lab/machine';
import { LINUX_V7S, type ShortDescriptorFormat } from '@iommu-lab/page-table';

/** Choices of the driver; one set for all instances it probes. */
export interface MsmIommuConfig {
  /** Table format; `LINUX_V7S` unless given. Its leaves must be non-global, since tables are told apart by ASID. */
  readonly format?: ShortDescriptorFormat;
  /**
   * Walks look into the CPU's cache (TTBR attributes 0x6A, R54); false unless given. When false, the memory given to
   * the driver for its tables must clean.
   */
  readonly coherentWalk?: boolean;
  /**
   * Invalidates after every map as well, for a TLB that keeps failed translations; false unless given. Only then may walks
   * fetch descriptors ahead (BFBCR.BFBDFE): what they fetched, invalid ones too, answers until something is invalidated
   * (R26). The kernel's drivers do both (drivers/iommu/msm_iommu.c: BFBDFE in __program_context, and a flush with each map).
   */
  readonly invalidateOnMap?: boolean;
  /** A faulting access waits for the verdict (ACTLR.CFCFG, R50); true unless given. When false it ends at once. */
  readonly stallFaults?: boolean;
  /** Line of context faults (CBACR.IRPTNDX, R48); `secure` unless given, as in mainline kernels. */
  readonly interruptLine?: 'secure' | 'non-secure';
  /**
   * An unmap of up to so many pages invalidates page by page; above it, the whole address space (TLBIASID); 32 unless
   * given.
   */
  readonly maxPageInvalidations?: number;
  /** Highest ASID given to a table, 1..254; 254 unless given. 0 tags blocked banks, 255 a switch under way. */
  readonly lastAsid?: number;
  /**
   * Streams that no context claims are routed to no bank, and claimed ones only once their bank blocks; true unless
   * given. Else an unclaimed stream is served by bank 0, whoever has that at the moment. It relies on a bank number that does not
   * exist being a configuration error, which no public source states. It is also what a context's streams are kept from its
   * bank by while all that waits there is ended; without it only the faulted access is, and what waits behind it may be
   * tried by what the context is given next.
   */
  readonly fenceStreams?: boolean;
}

/** The configuration with every choice made. */
export type ResolvedMsmIommuConfig = Required<MsmIommuConfig>;

/** Tags lookups of blocked banks. Their table is empty, so no entry ever carries it. */
export const BLOCKED_ASID = 0;
/** Tags what is loaded while a bank is between two tables; dropped at the end of the switch. */
export const TRANSIT_ASID = 255;

/**
 * Fills in the defaults.
 * @throws LabError EOPNOTSUPP on a format with global leaves, EINVAL on a number out of range
 */
export function resolveConfig(config: MsmIommuConfig = {}): ResolvedMsmIommuConfig {
  const resolved: ResolvedMsmIommuConfig = {
    format: LINUX_V7S,
    coherentWalk: false,
    invalidateOnMap: false,
    stallFaults: true,
    interruptLine: 'secure',
    maxPageInvalidations: 32,
    lastAsid: TRANSIT_ASID - 1,
    fenceStreams: true,
    ...config,
  };
  const { format, maxPageInvalidations, lastAsid } = resolved;
  if (format.notGlobal === 0) {
    throw new LabError('EOPNOTSUPP', `format ${format.name} writes global leaves: ASIDs cannot part tables`, {
      format: format.name,
    });
  }
  if (!Number.isSafeInteger(maxPageInvalidations) || maxPageInvalidations < 0) {
    throw new LabError('EINVAL', 'maxPageInvalidations is a non-negative integer', { maxPageInvalidations });
  }
  if (!Number.isInteger(lastAsid) || lastAsid < 1 || lastAsid >= TRANSIT_ASID) {
    throw new LabError('EINVAL', 'lastAsid is one of 1..254', { lastAsid });
  }
  return resolved;
}

/** CBACR.IRPTNDX of the configured line (R48). */
export function interruptIndexOf(config: ResolvedMsmIommuConfig): 0 | 1 {
  return config.interruptLine === 'secure' ? 0 : 1;
}
