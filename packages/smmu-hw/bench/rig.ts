/** An instance as a system has it, nobody watching: banks attached, machine id n routed to bank n, ASID n + 1. */
import {
  DEFAULT_ATTRIBUTES,
  InterruptLine,
  World,
  encode,
  type BusAccess,
  type PhysicalMemory,
} from '@iommu-lab/machine';
import { MsmSmmu } from '../src/index.ts';
import {
  ACTLR,
  CONTEXTIDR,
  M2VCBR,
  NMRR,
  PRRR,
  SCTLR,
  TTBR0,
  contextOffset,
  m2vcbrOffset,
} from '../src/regs/index.ts';
import { BANKS } from './patterns.ts';
import { firstLevelTable } from './tables.ts';

/** Fault reporting and walk on a miss; nothing is redirected to the CPU's cache. */
const ACTLR_WORD = 0x00033002;
/** As Linux writes them. */
const PRRR_WORD = 0xff0a81a8;
const NMRR_WORD = 0x40e040e0;
const SCTLR_WORD = 3;

/** The instance, with all its banks translating through their own tables. */
export function attachedSmmu(memory: PhysicalMemory, tlbEntries: number): MsmSmmu {
  const wiring = {
    memory,
    snooped: memory,
    secureLine: new InterruptLine('secure'),
    nonSecureLine: new InterruptLine('non-secure'),
  };
  const smmu = new MsmSmmu(new World(), { name: 'bench', contextBanks: BANKS, tlbEntries }, wiring);
  for (let bank = 0; bank < BANKS; bank++) {
    smmu.write32(m2vcbrOffset(bank), encode(M2VCBR, { CBNDX: bank, NSCFG: 3 }));
    smmu.write32(contextOffset(bank, CONTEXTIDR), asidOf(bank));
    smmu.write32(contextOffset(bank, ACTLR), ACTLR_WORD);
    smmu.write32(contextOffset(bank, TTBR0), firstLevelTable(bank));
    smmu.write32(contextOffset(bank, PRRR), PRRR_WORD);
    smmu.write32(contextOffset(bank, NMRR), NMRR_WORD);
    smmu.write32(contextOffset(bank, SCTLR), SCTLR_WORD);
  }
  return smmu;
}

/** The ASID a bank is attached with. */
export function asidOf(bank: number): number {
  return bank + 1;
}

/** An access of a machine id that reads a word; its address is set before each use. */
export function wordRead(mid: number): BusAccess {
  return {
    address: 0,
    data: new Uint8Array(4),
    offset: 0,
    length: 4,
    isWrite: false,
    streamId: mid,
    attributes: DEFAULT_ATTRIBUTES,
    masterName: 'bench',
    resume: () => {},
  };
}
