/**
 * A small machine whose whole state can be carried into another: an instance, memory behind both ports, six masters.
 * Everything that can be seen of it at the pins is noted.
 */
import {
  BusMaster,
  InterruptLine,
  PhysicalMemory,
  World,
  type BusAccess,
  type PhysAddr,
  type Register,
  type Transfer,
  type TransferSnapshot,
} from '@iommu-lab/machine';
import { MsmSmmu, type MsmSmmuConfig, type ParkedAccess, type SmmuSnapshot } from '../../src/index.ts';
import * as regs from '../../src/regs/index.ts';
import { PAGE, SECTION, STALL } from './tlb-pins.ts';

export const BANKS = 3;
export const MASTERS = 6;
/** Pages from PAGES_AT on that may have descriptors of their own, and sections that may. */
export const PAGES = 12;
export const SECTIONS = 4;

const RAM = 0x40000000;
const RAM_BYTES = 0x8000;
/** Where data lies: what leaves map, a page each. */
const DATA = 0x40006000;
const DATA_PAGES = 2;
/** The one first-level table, and the one second-level table, of section 1. */
const FIRST = RAM;
const SECOND = 0x40005000;
const PAGES_AT = 0x00100000;
const SECTIONS_AT = 0x00200000;

const PATTERN = Uint8Array.from({ length: DATA_PAGES * 0x1000 }, (_, i) => i % 251);
/** Offsets in the window of everything that can be read. */
const READABLE: readonly number[] = [
  ...regs.GLOBAL_REGISTERS.map(({ offset }) => offset),
  ...Array.from({ length: MASTERS + 1 }, (_, mid) => regs.m2vcbrOffset(mid)),
  ...Array.from({ length: BANKS }, (_, bank) => regs.cbacrOffset(bank)),
  ...Array.from({ length: BANKS }, (_, bank) =>
    regs.CONTEXT_REGISTERS.map((register) => regs.contextOffset(bank, register)),
  ).flat(),
];

/** What can be done to a board. */
export type Operation =
  | { readonly kind: 'run' }
  | { readonly kind: 'bank'; readonly bank: number; readonly register: Register; readonly value: number }
  | { readonly kind: 'global'; readonly offset: number; readonly value: number }
  | {
      readonly kind: 'page';
      readonly page: number;
      readonly target: number;
      readonly isGlobal: boolean;
      readonly isMapped: boolean;
    }
  | { readonly kind: 'section'; readonly section: number; readonly descriptor: number }
  | {
      readonly kind: 'transfer';
      readonly mid: number;
      readonly page: number;
      readonly bytes: number;
      readonly isWrite: boolean;
    };

/** All that a board is, but for the listeners of its masters. */
export interface BoardSnapshot {
  readonly smmu: SmmuSnapshot;
  readonly memory: readonly Uint8Array[];
  readonly transfers: readonly {
    readonly mid: number;
    readonly transfer: TransferSnapshot;
    readonly bytes: Uint8Array;
  }[];
  /** Writes so far: each has bytes of its own. */
  readonly issued: number;
}

/** One board. Its banks stall, walk and share tables; every second pair of masters uses the next bank. */
export class Board {
  readonly world: World;
  readonly smmu: MsmSmmu;
  readonly secureLine: InterruptLine = new InterruptLine('secure');
  readonly nonSecureLine: InterruptLine = new InterruptLine('non-secure');
  /** What the masters and the listeners of the lines and of events have heard, in order. */
  readonly heard: string[] = [];
  readonly #ports: readonly [memory: PhysicalMemory, snooped: PhysicalMemory];
  #masters: readonly BusMaster[] = [];
  readonly #pending = new Map<number, { readonly transfer: Transfer; readonly bytes: Uint8Array }>();
  #issued = 0;

  constructor(seed: number, config: Partial<MsmSmmuConfig>) {
    this.world = new World({ seed });
    const banks = [{ base: RAM, sizeBytes: RAM_BYTES }];
    this.#ports = [new PhysicalMemory(banks), new PhysicalMemory(banks)];
    const [memory, snooped] = this.#ports;
    const { secureLine, nonSecureLine } = this;
    this.smmu = new MsmSmmu(
      this.world,
      { name: 'dut', contextBanks: BANKS, streams: MASTERS + 1, tlbEntries: 16, ...config },
      { memory, snooped, secureLine, nonSecureLine },
    );
    for (const line of [secureLine, nonSecureLine]) {
      line.subscribe((isHigh) => this.heard.push(`${line.name} ${isHigh}`));
    }
    this.world.events.subscribe(({ name, fields }) => {
      this.heard.push(`${name} ${JSON.stringify({ ...fields, iommu: undefined })}`);
    });
    this.#makeMasters();
    this.program();
    // The ports show different bytes, so that a mix-up of the two is seen.
    memory.write(DATA as PhysAddr, PATTERN);
    snooped.write(
      DATA as PhysAddr,
      PATTERN.map((byte) => ~byte),
    );
  }

  /** Routing, banks that translate and stall, and some mappings. */
  program(): void {
    this.smmu.write32(regs.CR.offset, 0x40);
    for (let mid = 0; mid < MASTERS; mid++) {
      this.smmu.write32(regs.m2vcbrOffset(mid), ((mid >> 1) << 8) | (mid >> 2));
    }
    for (let bank = 0; bank < BANKS; bank++) {
      this.smmu.write32(regs.cbacrOffset(bank), ((bank & 1) << 24) | ((bank >> 1) << 16));
      this.set(bank, regs.CONTEXTIDR, bank + 1);
      this.set(bank, regs.ACTLR, STALL);
      this.set(bank, regs.TTBR0, bank === 1 ? FIRST | 0x6a : FIRST);
      this.set(bank, regs.BFBCR, 1);
      this.set(bank, regs.TLBLCKR, bank === 0 ? 1 : 0);
      this.set(bank, regs.SCTLR, 1);
    }
    this.#word(FIRST + (PAGES_AT >>> 20) * 4, SECOND | 1);
    for (let page = 0; page < PAGES; page++)
      if (page % 3 !== 1) this.#word(SECOND + page * 4, leafAt(page, page % 4 === 0));
    this.#word(FIRST + (SECTIONS_AT >>> 20) * 4, RAM | SECTION);
  }

  get(bank: number, register: Register): number {
    return this.smmu.read32(regs.contextOffset(bank, register));
  }

  set(bank: number, register: Register, value: number): void {
    this.smmu.write32(regs.contextOffset(bank, register), value);
  }

  /** Carries out `operation`. @returns what it answers at once. */
  apply(operation: Operation): string {
    switch (operation.kind) {
      case 'run':
        this.world.clock.run();
        return '';
      case 'bank':
        this.set(operation.bank, operation.register, operation.value);
        return '';
      case 'global':
        this.smmu.write32(operation.offset, operation.value);
        return '';
      case 'page': {
        const { page, target, isGlobal, isMapped } = operation;
        this.#word(SECOND + page * 4, isMapped ? leafAt(target, isGlobal) : 0);
        return '';
      }
      case 'section':
        this.#word(FIRST + (SECTIONS_AT >>> 20) * 4 + operation.section * 4, operation.descriptor);
        return '';
      case 'transfer':
        return this.transfer(operation.mid, addressOf(operation.page), operation.bytes, operation.isWrite);
    }
  }

  /** Starts a transfer, if the master has none pending. */
  transfer(mid: number, address: number, length: number, isWrite: boolean): string {
    if (this.#pending.has(mid)) return 'busy';
    const bytes = new Uint8Array(length).fill(isWrite ? ++this.#issued : 0xee);
    const master = this.#masters[mid] as BusMaster;
    const transfer = isWrite ? master.write(address, bytes) : master.read(address, bytes);
    this.#follow(mid, transfer, bytes);
    return transfer.state;
  }

  /** Everything that can be read, as one text. Reading has no effect. */
  state(): string {
    const { smmu } = this;
    return JSON.stringify([
      READABLE.map((offset) => smmu.read32(offset)),
      this.secureLine.isHigh,
      this.nonSecureLine.isHigh,
      smmu.tlbEntries(),
      smmu.statistics,
    ]);
  }

  /** Every byte behind the ports, as a text: that is quick to compare. */
  memory(): string {
    return this.#memory()
      .map((bytes) => new TextDecoder('latin1').decode(bytes))
      .join();
  }

  /** Every byte behind the ports. */
  #memory(): readonly Uint8Array[] {
    return this.#ports.map((port) => {
      const bytes = new Uint8Array(RAM_BYTES);
      port.read(RAM as PhysAddr, bytes);
      return bytes;
    });
  }

  snapshot(): BoardSnapshot {
    return {
      smmu: JSON.parse(JSON.stringify(this.smmu.snapshot())) as SmmuSnapshot,
      memory: this.#memory(),
      transfers: [...this.#pending].map(([mid, { transfer, bytes }]) => ({
        mid,
        transfer: transfer.snapshot(),
        bytes: bytes.slice(),
      })),
      issued: this.#issued,
    };
  }

  /** Becomes the board of the snapshot. What was pending here stays so for ever. */
  restore(snapshot: BoardSnapshot): void {
    snapshot.memory.forEach((bytes, at) => this.#ports[at]?.write(RAM as PhysAddr, bytes));
    this.#makeMasters();
    this.#pending.clear();
    this.#issued = snapshot.issued;
    const waiting = new Map(snapshot.transfers.map((each) => [each.mid, each]));
    this.smmu.restore(snapshot.smmu, (parked) => {
      const mid = parked.streamId;
      const mine = waiting.get(mid);
      if (mine === undefined) throw new Error(`master ${mid} has nothing pending`);
      waiting.delete(mid);
      const bytes = mine.bytes.slice();
      const transfer = (this.#masters[mid] as BusMaster).restore(mine.transfer, bytes);
      this.#follow(mid, transfer, bytes);
      return sameAccess(parked, transfer);
    });
    if (waiting.size > 0) throw new Error(`nobody holds the access of ${[...waiting.keys()].join()}`);
    this.heard.length = 0;
  }

  #makeMasters(): void {
    this.#masters = Array.from(
      { length: MASTERS },
      (_, mid) =>
        new BusMaster(this.world, {
          name: `master ${mid}`,
          streamId: mid,
          port: this.smmu,
          attributes: { isPrivileged: mid % 3 === 0, isInstruction: false, isSecure: mid === 1 },
        }),
    );
  }

  #follow(mid: number, transfer: Transfer, bytes: Uint8Array): void {
    if (transfer.state === 'pending') this.#pending.set(mid, { transfer, bytes });
    transfer.onEnd((state) => {
      this.#pending.delete(mid);
      this.heard.push(`${mid} ${state} after ${transfer.doneBytes}: ${bytes.join()}`);
    });
  }

  #word(address: number, word: number): void {
    for (const port of this.#ports) port.write32(address as PhysAddr, word >>> 0);
  }
}

/** The address of a page: one of those with a descriptor of its own, or one of a section. */
function addressOf(page: number): number {
  const section = page - PAGES;
  return section < 0 ? PAGES_AT + page * 0x1000 : SECTIONS_AT + section * 0x100000 + (DATA - RAM);
}

function leafAt(target: number, isGlobal: boolean): number {
  return (DATA + (target % DATA_PAGES) * 0x1000) | (isGlobal ? PAGE & ~0x800 : PAGE);
}

/** The restored transfer, if it is the access that was parked. */
function sameAccess(parked: ParkedAccess, access: BusAccess): BusAccess {
  for (const [key, value] of Object.entries(parked)) {
    const mine = (access as unknown as Record<string, unknown>)[key];
    if (JSON.stringify(mine) !== JSON.stringify(value)) throw new Error(`${key} is not as it was parked`);
  }
  return access;
}
