/**
 * Runs the cases of one sample on an instance, at its pins, and compares each with the oracle. Long because a case is
 * programmed, carried out and compared in one place.
 */
import {
  BUS_ERROR,
  InterruptLine,
  SLAVE_ERROR,
  World,
  type AccessStatus,
  type BusAccess,
  type MemoryPort,
  type Register,
  type ResumeOutcome,
} from '@iommu-lab/machine';
import { MsmSmmu } from '../../src/index.ts';
import * as regs from '../../src/regs/index.ts';
import { cardAt, type Case, type Cell, type Change, type Sample } from './campaign-sample.ts';
import {
  oracleAccess,
  oracleProbe,
  type Held,
  type OracleAccess,
  type OracleOutcome,
  type OracleRecord,
  type OracleRegisters,
  type OracleWalk,
} from './oracle.ts';

/** What came of the cases: how often each outcome, and what else is worth knowing. */
export type Tally = Map<string, number>;

/** What one side says of a step, key by key. */
type Facts = Readonly<Record<string, string | number | boolean>>;

const LOG2_BYTES = [12, 16, 20, 24] as const;
const UNTOUCHED = 0xaa;
const MEMORY_BYTE = 0xc3;
/** What FAR and EAR hold before an access. */
const FAR_BEFORE = 0x5a5a5a5a;
const EAR_BEFORE = 0xa5a5a5a5;
const FSR_BITS = 0xc00100fe;
const ESR_BITS = 0x80000003;
const STALLED = 0x40000000;
const TRE_AND_AFE = 0x6;
const CAUSES = ['TF', 'AFF', 'APF', 'TLBMF', 'HTWDEEF', 'HTWSEEF', 'MHF'] as const;
const PROBES = [regs.V2PPR, regs.V2PPW, regs.V2PUR, regs.V2PUW] as const;

/** Throws at the first step on which instance and oracle differ. */
export function runSample(sample: Sample, tally: Tally): void {
  const board = new Board(sample, tally);
  for (const one of sample.cases) board.run(one);
}

/** Memory of a board behind both ports: cards, and the words that were written over them. */
class CampaignMemory {
  readonly written: Map<number, Cell> = new Map();
  isBigEndian = false;
  aborts = false;
  /** What the ports were asked for, in order. */
  walk: string[] = [];
  transfers: string[] = [];
  readonly #sample: Sample;

  constructor(sample: Sample) {
    this.#sample = sample;
  }

  cell(address: number): Cell {
    const written = this.written.get(address);
    if (written !== undefined) return written;
    const card = cardAt(this.#sample, address);
    return this.isBigEndian && typeof card === 'number' ? swapped(card) : card;
  }

  port(name: string): MemoryPort {
    const move = (what: string, address: number, sizeBytes: number): boolean => {
      this.transfers.push(`${name} ${what} ${address.toString(16)} ${sizeBytes}`);
      return !this.aborts;
    };
    return {
      read: (address, into) => {
        into.fill(MEMORY_BYTE);
        return move('read', address, into.length);
      },
      write: (address, from) => move(`write ${from[0]}`, address, from.length),
      read32: (address) => {
        this.walk.push(`${name} ${address.toString(16)}`);
        const cell = this.cell(address);
        return cell === 'nothing' ? BUS_ERROR : cell === 'refuses' ? SLAVE_ERROR : cell;
      },
      write32: (address, value) => {
        this.walk.push(`${name} ${address.toString(16)} := ${value.toString(16)}`);
        this.written.set(address, value);
        return true;
      },
    };
  }
}

class Board {
  readonly #sample: Sample;
  readonly #tally: Tally;
  readonly #world = new World();
  readonly #memory: CampaignMemory;
  readonly #secureLine = new InterruptLine('secure');
  readonly #nonSecureLine = new InterruptLine('non-secure');
  readonly #smmu: MsmSmmu;
  #case: Case | undefined;
  #registers: OracleRegisters | undefined;
  #record: OracleRecord | undefined;
  /** What the TLB may answer from. */
  #held: Held[] = [];

  constructor(sample: Sample, tally: Tally) {
    this.#sample = sample;
    this.#tally = tally;
    this.#memory = new CampaignMemory(sample);
    const { readings, banks, streams, fetchBlocks } = sample;
    this.#smmu = new MsmSmmu(
      this.#world,
      { name: 'dut', contextBanks: banks, streams, fetchBlocks, readings },
      {
        memory: this.#memory.port('memory'),
        snooped: this.#memory.port('snooped'),
        secureLine: this.#secureLine,
        nonSecureLine: this.#nonSecureLine,
      },
    );
  }

  run(one: Case): void {
    this.#case = one;
    this.#program(one);
    if (one.change !== undefined) this.#change(one, one.change);
    const expected = this.#access(one, one.address, one.isAddressPhaseOnly, one.aborts);
    this.#count(expected);
    this.#probe(one);
  }

  /** Everything as the case wants it, with an empty TLB and the cards as they were dealt. */
  #program(one: Case): void {
    const { registers, mid } = one;
    const { banks, bank, streams, readings } = this.#sample;
    const memory = this.#memory;
    memory.written.clear();
    memory.isBigEndian = (registers.sctlr & 0x10) !== 0;
    this.#invalidate();
    this.#smmu.write32(regs.CR.offset, registers.cr);
    this.#smmu.write32(regs.cbacrOffset(bank), registers.cbacr);
    if (mid < streams) this.#smmu.write32(regs.m2vcbrOffset(mid), registers.m2vcbr);
    this.#set(regs.ACTLR, registers.actlr);
    this.#set(regs.CONTEXTIDR, registers.contextidr);
    this.#set(regs.TTBR0, registers.ttbr0);
    this.#set(regs.TTBR1, registers.ttbr1);
    this.#set(regs.TTBCR, registers.ttbcr);
    this.#set(regs.PRRR, registers.prrr);
    this.#set(regs.NMRR, registers.nmrr);
    this.#set(regs.BFBCR, registers.bfbcr);
    this.#set(regs.SCTLR, registers.sctlr);
    this.#set(regs.FSRRESTORE, registers.fsr);
    this.#set(regs.FAR, FAR_BEFORE);
    this.#set(regs.FSYNR0, 0);
    this.#set(regs.FSYNR1, 0);
    this.#smmu.write32(regs.ESRRESTORE.offset, registers.esr);
    this.#smmu.write32(regs.EAR.offset, EAR_BEFORE);
    this.#smmu.write32(regs.ESYNR0.offset, 0);
    this.#smmu.write32(regs.ESYNR1.offset, 0);
    this.#registers = {
      ...registers,
      m2vcbr: mid < streams ? registers.m2vcbr : undefined,
      hasBank: mid < streams && ((registers.m2vcbr >>> 8) & 0xff) < banks,
    };
    const isLoaded = readings.statusRestore === 'loads';
    this.#record = {
      fsr: isLoaded ? (registers.fsr & FSR_BITS) >>> 0 : 0,
      far: FAR_BEFORE,
      fsynr0: 0,
      fsynr1: 0,
      esr: isLoaded ? (registers.esr & ESR_BITS) >>> 0 : 0,
      ear: EAR_BEFORE,
      esynr0: 0,
      esynr1: 0,
    };
  }

  /** What came before the case's access (see Change). */
  #change(one: Case, change: Change): void {
    const { address, registers } = one;
    this.#map(one, address, change.from, change.fromLeaf, change.pointers[0]);
    this.#access(one, address, true, false);
    if (change.invalidates) this.#invalidate();
    const other = (address ^ (1 << ((LOG2_BYTES[change.to] as number) - 1))) >>> 0;
    const at = change.kind === 'overlap' ? other : address;
    this.#map(one, at, change.to, change.toLeaf, change.pointers[1]);
    if (change.kind === 'stale') {
      this.#reprogram({ sctlr: registers.sctlr ^ TRE_AND_AFE, prrr: ~registers.prrr >>> 0 });
      return;
    }
    if (change.kind === 'global') this.#reprogram({ contextidr: (registers.contextidr ^ 0x80) >>> 0 });
    this.#access(one, at, true, false);
    this.#reprogram({ contextidr: registers.contextidr });
  }

  /** Writes registers of the bank anew. */
  #reprogram(changed: Partial<Pick<OracleRegisters, 'sctlr' | 'prrr' | 'contextidr'>>): void {
    const registers: OracleRegisters = { ...(this.#registers as OracleRegisters), ...changed };
    this.#registers = registers;
    this.#set(regs.CONTEXTIDR, registers.contextidr);
    this.#set(regs.PRRR, registers.prrr);
    this.#set(regs.SCTLR, registers.sctlr);
  }

  /** Stores descriptors where the oracle says the walker will look for them. */
  #map(one: Case, address: number, size: number, leaf: number, pointer: number): void {
    const put = (level: number, descriptor: number): void => {
      const at = this.#oracle(one, address, []).reads[level]?.at as number;
      this.#memory.written.set(at, this.#memory.isBigEndian ? swapped(descriptor) : descriptor);
    };
    put(0, size >= 2 ? leaf : pointer);
    if (size < 2) put(1, leaf);
  }

  /** One access, and all that can be seen of it. @returns what the oracle says of it. */
  #access(one: Case, address: number, isAddressPhaseOnly: boolean, aborts: boolean): OracleOutcome {
    const memory = this.#memory;
    const expected = this.#oracle(one, address, this.#held);
    const { status, passage, isError, record } = expected;
    memory.walk = [];
    memory.transfers = [];
    memory.aborts = aborts;

    const length = Math.min(one.length, 0x1000 - (address % 0x1000));
    const data = new Uint8Array(length + 2).fill(UNTOUCHED);
    const answers: ResumeOutcome[] = [];
    const access: BusAccess = {
      address,
      data,
      offset: 1,
      length,
      isWrite: one.isWrite,
      streamId: one.mid,
      attributes: {
        isPrivileged: one.isPrivileged,
        isInstruction: one.isInstruction,
        isSecure: one.isSecure,
      },
      masterName: 'dut',
      resume: (outcome) => answers.push(outcome),
    };
    const smmu = this.#smmu;
    const got: AccessStatus = isAddressPhaseOnly ? smmu.translate(access) : smmu.access(access);

    const isMoved = !isAddressPhaseOnly && passage !== undefined;
    const isSilent = !isAddressPhaseOnly && status === 'faulted' && !isError;
    const expectedStatus = isMoved && aborts ? 'faulted' : isSilent ? 'done' : status;
    const { translated } = smmu;
    const port = passage?.isSnooped === true ? 'snooped' : 'memory';
    const what = one.isWrite ? `write ${UNTOUCHED}` : 'read';
    const byte = one.isWrite ? UNTOUCHED : isMoved ? MEMORY_BYTE : isSilent ? 0 : UNTOUCHED;
    this.#compare(
      {
        status: expectedStatus,
        ...(passage === undefined
          ? {}
          : {
              address: passage.address,
              memoryType: passage.memoryType,
              shareability: passage.shareability,
              isSnooped: passage.isSnooped,
              isNonSecure: passage.isNonSecure,
            }),
        walk: this.#walkText(expected),
        transfers: isMoved ? `${port} ${what} ${passage.address.toString(16)} ${length}` : '',
        bytes: byte,
        bytesAround: UNTOUCHED,
        ...record,
        secureLine: expected.secureLine,
        nonSecureLine: expected.nonSecureLine,
      },
      {
        status: got,
        ...(passage === undefined
          ? {}
          : {
              address: translated.address,
              memoryType: translated.memoryType,
              shareability: translated.shareability,
              isSnooped: translated.isSnooped,
              isNonSecure: translated.isNonSecure,
            }),
        walk: this.#seenWalk(),
        transfers: memory.transfers.join(),
        bytes: onlyByte(data, 1, length + 1),
        bytesAround: data[0] === data[length + 1] ? (data[0] as number) : 'differ',
        ...this.#seenRecord(),
        secureLine: this.#secureLine.isHigh,
        nonSecureLine: this.#nonSecureLine.isHigh,
      },
      'access',
    );
    this.#record = record;
    if (expected.kept !== undefined) this.#held.push(expected.kept);
    if (status === 'parked') this.#release(isError ? 'terminate' : 'ignore', answers);
    return expected;
  }

  /** Ends the stall that the oracle expects, and looks at how the master hears of it. */
  #release(expected: ResumeOutcome, answers: readonly ResumeOutcome[]): void {
    this.#set(regs.RESUME, this.#sample.readings.resumeTerminates);
    this.#world.clock.run();
    const record = this.#record as OracleRecord;
    this.#record = { ...record, fsr: (record.fsr & ~STALLED) >>> 0 };
    this.#compare(
      { answers: expected, fsr: this.#record.fsr },
      { answers: answers.join(), fsr: this.#get(regs.FSR) },
      'resume',
    );
    this.#add('stalled');
  }

  /** V2P of the right that the case's access has by itself. */
  #probe(one: Case): void {
    const memory = this.#memory;
    if (one.isProbeCold) this.#invalidate();
    const right = (one.isPrivileged ? 0 : 2) + (one.isWrite ? 1 : 0);
    const low = one.address % 2 ** 32;
    const page = low - (low % 0x1000);
    const expected = oracleProbe(
      this.#registers as OracleRegisters,
      this.#sample.readings,
      this.#record as OracleRecord,
      page,
      right,
      (at) => memory.cell(at),
      this.#held,
    );
    memory.walk = [];
    this.#set(PROBES[right] as Register, page + one.probeIndex);
    this.#compare(
      { par: expected.par, walk: this.#walkText(expected), ...expected.record },
      { par: this.#get(regs.PAR), walk: this.#seenWalk(), ...this.#seenRecord() },
      'V2P',
    );
    this.#add(expected.par % 2 === 0 ? 'V2P succeeds' : 'V2P fails');
  }

  #oracle(one: Case, address: number, held: readonly Held[]): OracleOutcome {
    const access: OracleAccess = {
      address,
      isWrite: one.isWrite,
      isPrivileged: one.isPrivileged,
      isInstruction: one.isInstruction,
      isSecure: one.isSecure,
      mid: one.mid,
    };
    return oracleAccess(
      this.#registers as OracleRegisters,
      this.#sample.readings,
      this.#record as OracleRecord,
      access,
      (at) => this.#memory.cell(at),
      held,
    );
  }

  /** With the block fetch buffer on, more is read than is needed: then only what was stored counts. */
  get #isPrefetching(): boolean {
    return this.#sample.fetchBlocks > 0 && ((this.#case as Case).registers.bfbcr & 1) === 1;
  }

  #walkText({ reads, update }: OracleWalk): string {
    const port = reads[0]?.port;
    const stores =
      update === undefined ? [] : [`${port} ${update.at.toString(16)} := ${update.word.toString(16)}`];
    if (this.#isPrefetching) return stores.join();
    return [...reads.map((read) => `${read.port} ${read.at.toString(16)}`), ...stores].join();
  }

  #seenWalk(): string {
    const { walk } = this.#memory;
    return (this.#isPrefetching ? walk.filter((step) => step.includes(':=')) : walk).join();
  }

  #seenRecord(): OracleRecord {
    const smmu = this.#smmu;
    return {
      fsr: this.#get(regs.FSR),
      far: this.#get(regs.FAR),
      fsynr0: this.#get(regs.FSYNR0),
      fsynr1: this.#get(regs.FSYNR1),
      esr: smmu.read32(regs.ESR.offset),
      ear: smmu.read32(regs.EAR.offset),
      esynr0: smmu.read32(regs.ESYNR0.offset),
      esynr1: smmu.read32(regs.ESYNR1.offset),
    };
  }

  #invalidate(): void {
    this.#held = [];
    this.#smmu.write32(regs.GLOBAL_TLBIALL.offset, 0);
  }

  #get(register: Register): number {
    return this.#smmu.read32(regs.contextOffset(this.#sample.bank, register));
  }

  #set(register: Register, value: number): void {
    this.#smmu.write32(regs.contextOffset(this.#sample.bank, register), value);
  }

  #compare(expected: Facts, got: Facts, step: string): void {
    const differing: string[] = [];
    for (const key in expected) if (expected[key] !== got[key]) differing.push(key);
    if (differing.length === 0) return;
    const lines = differing.map(
      (key) => `  ${key}: expected ${shown(expected[key])}, got ${shown(got[key])}`,
    );
    throw new Error(
      [
        `${step} differs from the oracle:`,
        ...lines,
        `walk (oracle): ${shown(expected['walk'])}`,
        `case: ${text(this.#case)}`,
        `readings: ${text(this.#sample.readings)}`,
        `${this.#sample.banks} banks, bank ${this.#sample.bank}, ${this.#sample.streams} streams, ${this.#sample.fetchBlocks} fetch blocks`,
      ].join('\n'),
    );
  }

  #count({ passage, cause, record, kept, update }: OracleOutcome): void {
    this.#add('cases');
    this.#add(outcomeName(passage, cause, record));
    if (passage?.isSnooped === true) this.#add('through the cache');
    if (passage !== undefined && passage.address >= 2 ** 32 && passage.isTranslated) this.#add('above 4 GiB');
    if (update !== undefined) this.#add('access flag set');
    if (kept !== undefined && passage !== undefined) this.#add(`leaf of 2^${kept.log2Bytes}`);
    if (passage?.isTranslated === true) this.#add(passage.memoryType);
  }

  #add(what: string): void {
    this.#tally.set(what, (this.#tally.get(what) ?? 0) + 1);
  }
}

function outcomeName(passage: OracleOutcome['passage'], cause: number, record: OracleRecord): string {
  if (passage !== undefined) return passage.isTranslated ? 'translated' : 'bypassed';
  if (cause === 0)
    return (record.esr & 0x80000000) !== 0 ? 'ESR.MULTI' : (record.esr & 1) === 1 ? 'ESR.CFG' : 'ESR.BYPASS';
  const name = CAUSES.find((_, index) => ((cause >>> (index + 1)) & 1) === 1) as string;
  return cause > 0xffff ? `${name}+SL` : name;
}

/** The value that all of `data[from .. to)` have; `mixed` if they have several. */
function onlyByte(data: Uint8Array, from: number, to: number): number | 'mixed' {
  for (let i = from + 1; i < to; i++) if (data[i] !== data[from]) return 'mixed';
  return data[from] as number;
}

function swapped(word: number): number {
  return ((word >>> 24) | ((word >>> 8) & 0xff00) | ((word << 8) & 0xff0000) | (word << 24)) >>> 0;
}

function shown(value: Facts[string] | undefined): string {
  return typeof value === 'number' ? `0x${value.toString(16)}` : String(value);
}

function text(value: unknown): string {
  const hexed = (_: string, field: unknown): unknown =>
    typeof field === 'number' ? `0x${field.toString(16)}` : field;
  return JSON.stringify(value, hexed);
}
