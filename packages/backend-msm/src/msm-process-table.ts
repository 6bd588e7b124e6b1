/**
 * A process's tables as banks walk them: what the registers must say about them, and the places where they are current.
 * The tables are the process's; nothing here writes a descriptor.
 */
import type { ProcessSpace, ProcessTable } from '@iommu-lab/iommu-core';
import { alignDown, encode, hex, isAligned, LabError } from '@iommu-lab/machine';
import { TTBCR } from '@iommu-lab/smmu-hw/regs';
import { type BankProgram, ttbr0Of } from './bank-program.ts';
import type { ResolvedMsmIommuConfig } from './config.ts';
import { type Attachment, TableUsers } from './table-users.ts';

/** Name of the one format of processes' tables that the hardware walks. */
export const ARMV7_SHORT = 'armv7-short';

/** What a process's tables need of a bank besides an ASID. */
export type ProcessRegisters = Pick<BankProgram, 'ttbr0' | 'ttbcr' | 'afe' | 'prrr' | 'nmrr'>;

const ADDRESS_END = 2 ** 32;
const PAGE_BYTES = 0x1000;
const FIRST_LEVEL_BYTES = 0x4000;
/** TTBCR.N splits the address space at 2^(32-N). */
const SPLITS = [1, 2, 3, 4, 5, 6, 7] as const;

/** One process; any instance of its `tableKey` can walk its tables. */
export class MsmProcessTable implements ProcessTable {
  /** Instances of this key accept it. */
  readonly tableKey: string;
  /**
   * The split at `userEnd` leaves the kernel's half to TTBR1, and PD1 forbids to walk there: an access to it is a
   * translation fault whoever makes it, whatever the tables say (R34).
   */
  readonly registers: ProcessRegisters;
  readonly #space: ProcessSpace;
  readonly #users: TableUsers;

  /**
   * @throws LabError EOPNOTSUPP on another format, without PRRR, NMRR or AFE, when `userEnd` is none of 2^31 to 2^25, or
   * the first level does not lie at a multiple of 16 KiB below 4 GiB
   */
  constructor(space: ProcessSpace, config: ResolvedMsmIommuConfig, tableKey: string) {
    this.tableKey = tableKey;
    this.#space = space;
    this.#users = new TableUsers(config.maxPageInvalidations);
    this.registers = registersOf(space, config.coherentWalk);
  }

  /** From now on invalidations go there too. @throws LabError EINVAL on a destroyed table or a process that has ended */
  join(attachment: Attachment): void {
    if (this.#users.isDestroyed || this.#space.hasExited) {
      throw new LabError('EINVAL', `the tables of ${this.#space.name} are gone`);
    }
    this.#users.join(attachment);
  }

  /** The bank no longer walks the tables, and the TLB holds nothing of them for that bank's sake. */
  leave(attachment: Attachment): void {
    this.#users.leave(attachment);
  }

  invalidate(iova: number, sizeBytes: number): void {
    const start = alignDown(iova, PAGE_BYTES);
    this.#users.invalidate([{ iova: start, sizeBytes: iova + sizeBytes - start, pageSize: PAGE_BYTES }]);
  }

  destroy(): void {
    this.#users.destroy();
  }
}

function registersOf(space: ProcessSpace, coherentWalk: boolean): ProcessRegisters {
  const { name, tableFormat, tableRoot, userEnd, attributes } = space;
  if (tableFormat !== ARMV7_SHORT) throw unsupported(`${name}: tables of format ${tableFormat}`);
  const split = SPLITS.find((n) => 2 ** (32 - n) === userEnd);
  if (split === undefined) {
    throw unsupported(`${name}: a user part that ends at ${hex(userEnd)}: TTBCR.N cannot split there`);
  }
  if (!isAligned(tableRoot, FIRST_LEVEL_BYTES) || tableRoot >= ADDRESS_END) {
    throw unsupported(`${name}: a first level at ${hex(tableRoot)}`);
  }
  const afe = word(name, attributes, 'AFE');
  if (afe > 1) throw unsupported(`${name}: AFE = ${afe}`);
  return {
    ttbr0: ttbr0Of(tableRoot, coherentWalk),
    ttbcr: encode(TTBCR, { N: split, PD1: 1 }),
    afe: afe === 1 ? 1 : 0,
    prrr: word(name, attributes, 'PRRR'),
    nmrr: word(name, attributes, 'NMRR'),
  };
}

function word(process: string, attributes: Readonly<Record<string, number>>, name: string): number {
  const value = attributes[name];
  if (value === undefined || !Number.isInteger(value) || value < 0 || value >= ADDRESS_END) {
    throw unsupported(`${process}: no ${name}`);
  }
  return value;
}

function unsupported(what: string): LabError {
  return new LabError('EOPNOTSUPP', `an MSM SMMU cannot walk ${what}`);
}
