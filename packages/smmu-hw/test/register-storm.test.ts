/** Software that writes anything anywhere, while masters issue accesses: nothing may throw, hang or grow. */
import { describe, expect, test } from '@jest/globals';
import {
  BusMaster,
  InterruptLine,
  PhysicalMemory,
  Random,
  World,
  type PhysAddr,
  type Transfer,
} from '@iommu-lab/machine';
import { MsmSmmu, OPEN_POINTS, type MsmSmmuConfig, type Readings, type SmmuSnapshot } from '../src/index.ts';
import * as regs from '../src/regs/index.ts';
import { campaignSettings, rerunCommand } from './support/campaign-settings.ts';

/** Register writes over all configurations. */
const WRITES = 1_000_000;
/** Resets of each. */
const ROUNDS = 20;
const MASTERS = 5;
const BANKS = 3;
const STREAMS = 32;
/** ACTLR as the drivers have it, and with faults terminated at once. */
const ACTLR_STALLING = 0x37072;
const ACTLR_TERMINATING = 0x33072;
const MEMORY_BASE = 0x40000000;
const MEMORY_BYTES = 0x40000;
/** What a TLB entry, a block, a parked access and a register may take in a snapshot's text. */
const MOST_TEXT = { entry: 200, block: 200, parked: 400, register: 40 };

const CONFIGS: readonly (readonly [string, Omit<MsmSmmuConfig, 'name' | 'contextBanks'>])[] = [
  ['the defaults', {}],
  ['random replacement in a small TLB', { tlbReplacement: 'random', tlbEntries: 16, tlbWays: 2 }],
  ['a block fetch buffer', { fetchBlocks: 16, tlbEntries: 256, tlbWays: 256 }],
  ['every second reading', { readings: readingsAt(1) }],
  ['every last reading, and a block fetch buffer', { fetchBlocks: 1, readings: readingsAt(-1) }],
];

describe('whatever software writes', () => {
  test.each(CONFIGS)(
    'nothing throws, hangs or grows, reads are words, and a reset leaves nothing: %s',
    (_, config) => {
      const { seed, runs = WRITES } = campaignSettings();
      const storm = new Storm(seed, config);
      try {
        for (let round = 0; round < ROUNDS; round++) {
          storm.rage(Math.ceil(runs / CONFIGS.length / ROUNDS));
          const after = storm.reset();
          expect(after.pending).toEqual([]);
          expect(after.waits).toEqual([]);
          expect(after.snapshot).toEqual(storm.fresh().snapshot());
        }
        // It must have been one.
        expect(storm.shares().filter((share) => runs >= WRITES && share < 0.05)).toEqual([]);
      } catch (error) {
        const again = rerunCommand('register-storm', { seed, runs });
        throw new Error(`after ${storm.writes} writes: ${String(error)}\nagain: ${again}`, { cause: error });
      }
      console.info(`seed ${seed}: ${storm.summary()}`);
    },
    3_600_000,
  );
});

/** One instance in the storm. */
class Storm {
  writes = 0;
  #reads = 0;
  #transfers = 0;
  #longestText = 0;
  readonly #ends = { done: 0, faulted: 0 };
  /** Sums over the moments before a reset. */
  readonly #rounds = { parked: 0, entries: 0 };
  readonly #random: Random;
  readonly #world: World;
  readonly #config: MsmSmmuConfig;
  readonly #smmu: MsmSmmu;
  readonly #masters: readonly BusMaster[];
  readonly #pending: (Transfer | undefined)[];
  readonly #mostText: number;

  constructor(seed: number, config: Omit<MsmSmmuConfig, 'name' | 'contextBanks'>) {
    this.#random = new Random(seed);
    this.#world = new World({ seed });
    this.#config = { name: 'storm', contextBanks: BANKS, streams: STREAMS, ...config };
    this.#smmu = this.#instance(this.#world, this.#tables());
    this.#masters = Array.from({ length: MASTERS }, (_, index) => this.#master(index));
    this.#pending = this.#masters.map(() => undefined);
    const { tlbEntries = 64, fetchBlocks = 0 } = config;
    this.#mostText =
      this.#text().length +
      tlbEntries * MOST_TEXT.entry +
      2 * fetchBlocks * MOST_TEXT.block +
      MASTERS * MOST_TEXT.parked +
      (BANKS * (regs.CONTEXT_REGISTERS.length + 1) + regs.GLOBAL_REGISTERS.length + STREAMS) *
        MOST_TEXT.register;
  }

  /** Register writes, and now and then something else; in the end some accesses are parked and the TLB is in use. */
  rage(writes: number): void {
    const end = this.writes + writes;
    while (this.writes < end) {
      const draw = this.#random.integer(0, 511);
      this.#smmu.write32(this.#offset(), this.#value());
      this.writes++;
      if (draw < 128) this.#read();
      if (draw >= 128 && draw < 224) this.#issue();
      if (draw >= 224 && draw < 240) this.#world.clock.run();
      if (draw === 240) this.#calm();
      if (this.writes % 4096 === 0) this.#measure();
    }
    for (let bank = 0; bank < BANKS; bank++) this.#calm();
    this.#rounds.parked += this.#world.clock.waits().length;
    this.#rounds.entries += this.#smmu.tlbEntries().length;
  }

  /** Everything is let go. @returns what is left. */
  reset(): { pending: readonly Transfer[]; waits: readonly string[]; snapshot: SmmuSnapshot } {
    this.#measure();
    this.#smmu.reset();
    this.#world.clock.run();
    this.#forgetEnded();
    return {
      pending: this.#pending.filter((transfer) => transfer !== undefined),
      waits: this.#world.clock.waits(),
      snapshot: this.#smmu.snapshot(),
    };
  }

  /** An instance of the same making that has seen nothing. */
  fresh(): MsmSmmu {
    return this.#instance(new World({ seed: this.#world.random.seed }), this.#tables());
  }

  /** Transfers by writes, done and faulted ones by transfers, accesses parked and TLB entries by resets. */
  shares(): readonly number[] {
    const { done, faulted } = this.#ends;
    const { parked, entries } = this.#rounds;
    return [
      this.#transfers / this.writes,
      done / this.#transfers,
      faulted / this.#transfers,
      parked / ROUNDS,
      entries / ROUNDS,
    ];
  }

  summary(): string {
    const { done, faulted } = this.#ends;
    const { parked, entries } = this.#rounds;
    return (
      `${this.writes} writes, ${this.#reads} reads, ${this.#transfers} transfers (${done} done, ${faulted} faulted), ` +
      `longest snapshot ${this.#longestText} of at most ${this.#mostText} characters, ` +
      `before ${ROUNDS} resets ${parked} parked and ${entries} entries`
    );
  }

  #instance(world: World, memory: PhysicalMemory): MsmSmmu {
    return new MsmSmmu(world, this.#config, {
      memory,
      snooped: memory,
      secureLine: new InterruptLine('secure'),
      nonSecureLine: new InterruptLine('non-secure'),
    });
  }

  #master(index: number): BusMaster {
    return new BusMaster(this.#world, {
      name: `master ${index}`,
      // The last one has no routing.
      streamId: index === MASTERS - 1 ? STREAMS : index,
      port: this.#smmu,
      attributes: { isPrivileged: index % 2 === 0, isInstruction: index === 1, isSecure: index === 2 },
    });
  }

  /** Memory full of descriptors that point into it, some by chance of anything. */
  #tables(): PhysicalMemory {
    const memory = new PhysicalMemory([{ base: MEMORY_BASE, sizeBytes: MEMORY_BYTES }]);
    const random = this.#random.fork('tables');
    for (let at = 0; at < MEMORY_BYTES; at += 4) {
      const word = random.integer(0, 0xffffffff);
      const inside = ((word & ~(MEMORY_BYTES - 1 - 0x3ff) & 0x3ffff) | MEMORY_BASE) >>> 0;
      const descriptor = random.oneIn(4) ? word : ((inside & ~3) | (word & 3) | 0x30) >>> 0;
      memory.write32((MEMORY_BASE + at) as PhysAddr, descriptor);
    }
    return memory;
  }

  /** Any register, any place in the arrays, and any place where there is nothing. */
  #offset(): number {
    const random = this.#random;
    const bank = random.integer(0, BANKS);
    switch (random.integer(0, 9)) {
      case 0:
      case 1:
      case 2:
      case 3:
        return regs.contextOffset(bank, this.#oneOf(regs.CONTEXT_REGISTERS));
      case 4:
      case 5:
        return this.#oneOf(regs.GLOBAL_REGISTERS).offset;
      case 6:
        return 0xff000 + 4 * random.integer(0, STREAMS + 4);
      case 7:
        return 0xff800 + 4 * random.integer(0, BANKS + 4);
      case 8:
        return random.integer(0, 0xfffff);
      default:
        return this.#oneOf([-4, -1, 0x100000, 0x100800, 0xffffffff, 2 ** 40, bank * 0x1000 + 2]);
    }
  }

  #value(): number {
    const random = this.#random;
    switch (random.integer(0, 7)) {
      case 0:
        return this.#oneOf([0, 1, 0xffffffff, -1, 0x80000000, 3]);
      case 1:
        return 1 << random.integer(0, 31);
      case 2:
        return (MEMORY_BASE + random.integer(0, MEMORY_BYTES - 1)) >>> 0;
      case 3:
        return random.integer(0, 0xff);
      default:
        return random.integer(0, 0xffffffff);
    }
  }

  /** A bank as a driver leaves it, and time for the TLB to fill: else the storm blows at closed doors. */
  #calm(): void {
    const smmu = this.#smmu;
    const bank = this.#random.integer(0, BANKS - 1);
    const set = (register: (typeof regs.CONTEXT_REGISTERS)[number], value: number): void =>
      smmu.write32(regs.contextOffset(bank, register), value);
    smmu.write32(regs.CR.offset, 0x40);
    for (let mid = 0; mid < MASTERS - 1; mid++) {
      smmu.write32(regs.m2vcbrOffset(mid), this.#random.integer(0, BANKS - 1) << 8);
    }
    set(regs.RESUME, 1);
    this.#world.clock.run();
    set(regs.ACTLR, ACTLR_TERMINATING);
    set(regs.TTBCR, 0);
    set(regs.TTBR0, MEMORY_BASE);
    set(regs.BFBCR, 1);
    set(regs.SCTLR, 0x2b);
    for (let transfer = 0; transfer < 64; transfer++) this.#issue();
    if (this.#random.oneIn(2)) set(regs.ACTLR, ACTLR_STALLING);
    for (let transfer = 0; transfer < 8; transfer++) this.#issue();
    this.#measure();
  }

  #read(): void {
    const offset = this.#offset();
    const value = this.#smmu.read32(offset);
    this.#reads++;
    if (Number.isInteger(value) && value >= 0 && value <= 0xffffffff) return;
    throw new Error(`a read at ${offset} gave ${value}`);
  }

  /** A transfer by a master that has none under way. */
  #issue(): void {
    this.#forgetEnded();
    const random = this.#random;
    const index = random.integer(0, MASTERS - 1);
    if (this.#pending[index] !== undefined) return;
    const master = this.#masters[index] as BusMaster;
    const inMemory = MEMORY_BASE + random.integer(0, MEMORY_BYTES - 1);
    const address = random.oneIn(3) ? inMemory : random.oneIn(50) ? 2 ** 33 : random.integer(0, 0xffffffff);
    const bytes = new Uint8Array(random.integer(1, 8)).fill(random.integer(0, 255));
    this.#transfers++;
    this.#pending[index] = random.oneIn(2) ? master.read(address, bytes) : master.write(address, bytes);
  }

  #forgetEnded(): void {
    this.#pending.forEach((transfer, index) => {
      if (transfer === undefined || transfer.state === 'pending') return;
      this.#ends[transfer.state]++;
      this.#pending[index] = undefined;
    });
  }

  #measure(): void {
    this.#world.clock.run();
    const { length } = this.#text();
    this.#longestText = Math.max(this.#longestText, length);
    if (length > this.#mostText) throw new Error(`the snapshot has grown to ${length} characters`);
    const waits = this.#world.clock.waits();
    if (waits.length > MASTERS) throw new Error(`${waits.length} accesses are parked: ${waits.join(', ')}`);
  }

  #text(): string {
    return JSON.stringify(this.#smmu.snapshot());
  }

  #oneOf<T>(values: readonly T[]): T {
    return values[this.#random.integer(0, values.length - 1)] as T;
  }
}

/** For each open point the value at `position` of its row. */
function readingsAt(position: number): Partial<Readings> {
  return Object.fromEntries(
    Object.entries(OPEN_POINTS).map(([name, { values }]) => [name, values.at(position)]),
  ) as Partial<Readings>;
}
