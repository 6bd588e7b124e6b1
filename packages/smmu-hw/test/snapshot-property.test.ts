/** An instance that was carried into another world goes on as the one it was taken from. */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { MsmSmmuConfig, SmmuSnapshot } from '../src/index.ts';
import { OPEN_POINTS, type ReadingName, type Readings } from '../src/readings.ts';
import * as regs from '../src/regs/index.ts';
import { BANKS, Board, MASTERS, PAGES, SECTIONS, type Operation } from './support/snapshot-board.ts';
import { GLOBAL_SECTION, SECTION, STALL, TERMINATE } from './support/tlb-pins.ts';

const SEED = Number(process.env['FC_SEED'] ?? 2010);
const RUNS = Number(process.env['FC_RUNS'] ?? 250);

/** A supersection that lies, if its upper bits count, above 4 GiB. */
const HIGH_SUPERSECTION = 0x40000000 | (1 << 18) | (9 << 20) | (10 << 5) | SECTION;

const INSTANCES: readonly Partial<MsmSmmuConfig>[] = [
  {},
  { tlbReplacement: 'random', tlbEntries: 8, tlbWays: 2 },
  { fetchBlocks: 1 },
  { fetchBlocks: 4, tlbEntries: 8, tlbReplacement: 'random' },
  { readings: readingsAt(1) },
  { fetchBlocks: 2, readings: readingsAt(-1) },
  { readings: { stalledBank: 'hits-pass', failedWalks: 'kept', terminatedAccess: 'by-cfere' } },
  { readings: { disabledBank: 'keeps-stall', selectedEntry: 'live', multiHit: 'fault' } },
];

/** Every open point read as its value number `index` (-1: the last), or as its last one. */
function readingsAt(index: number): Partial<Readings> {
  const names = Object.keys(OPEN_POINTS) as ReadingName[];
  return Object.fromEntries(
    names.map((name) => [name, OPEN_POINTS[name].values.at(index) ?? OPEN_POINTS[name].values.at(-1)]),
  );
}

const bank = fc.integer({ min: 0, max: BANKS - 1 });
const page = fc.integer({ min: 0, max: PAGES + SECTIONS - 1 });
const addressWord = fc
  .tuple(fc.integer({ min: 0, max: PAGES - 1 }), fc.integer({ min: 0, max: 12 }))
  .map(([at, low]) => 0x00100000 + at * 0x1000 + low);

/** What a register is written with: mostly what software means by it. */
const bankWrite = fc.oneof(
  { weight: 10, arbitrary: write(regs.RESUME, fc.constantFrom(0, 1)) },
  { weight: 5, arbitrary: write(regs.FSR, fc.constantFrom(0xffffffff, 0xffffffff, 0x40000000, 0x2)) },
  { weight: 1, arbitrary: write(regs.FSRRESTORE, fc.constantFrom(0, 0x80000010)) },
  { weight: 6, arbitrary: write(regs.SCTLR, fc.constantFrom(1, 1, 3, 0)) },
  {
    weight: 3,
    arbitrary: write(regs.ACTLR, fc.constantFrom(STALL, STALL, STALL & ~3, STALL & ~1, TERMINATE)),
  },
  { weight: 2, arbitrary: write(regs.CONTEXTIDR, fc.integer({ min: 1, max: 3 })) },
  { weight: 1, arbitrary: write(regs.BFBCR, fc.constantFrom(0, 1)) },
  { weight: 3, arbitrary: write(regs.TLBLCKR, fc.constantFrom(1, 0xf, 0x301, 1, 0)) },
  { weight: 16, arbitrary: write(regs.V2PPR, addressWord) },
  { weight: 3, arbitrary: write(regs.V2PUW, addressWord) },
  { weight: 2, arbitrary: write(regs.TLBIVA, addressWord) },
  { weight: 1, arbitrary: write(regs.TLBIVAA, addressWord) },
  { weight: 1, arbitrary: write(regs.TLBIASID, fc.integer({ min: 1, max: 3 })) },
  { weight: 1, arbitrary: write(regs.CTX_TLBIALL, fc.constant(0)) },
);

function write(register: (typeof regs.CONTEXT_REGISTERS)[number], value: fc.Arbitrary<number>) {
  return fc.record({ kind: fc.constant('bank' as const), bank, register: fc.constant(register), value });
}

function writeGlobal(offset: fc.Arbitrary<number>, value: fc.Arbitrary<number>) {
  return fc.record({ kind: fc.constant('global' as const), offset, value });
}

const globalWrite = fc.oneof(
  {
    weight: 2,
    arbitrary: writeGlobal(fc.constant(regs.CR.offset), fc.constantFrom(0x40, 0x40, 0x50, 0x1e0)),
  },
  { weight: 3, arbitrary: writeGlobal(fc.constant(regs.TLBRSW.offset), fc.integer({ min: 0, max: 15 })) },
  { weight: 1, arbitrary: writeGlobal(fc.constant(regs.GLOBAL_TLBIALL.offset), fc.constant(0)) },
  { weight: 1, arbitrary: writeGlobal(fc.constant(regs.TLBIVMID.offset), fc.integer({ min: 0, max: 1 })) },
  { weight: 1, arbitrary: writeGlobal(fc.constant(regs.ESR.offset), fc.constant(0xffffffff)) },
  {
    weight: 2,
    arbitrary: writeGlobal(
      fc.integer({ min: 0, max: MASTERS - 1 }).map((mid) => regs.m2vcbrOffset(mid)),
      fc
        .tuple(fc.integer({ min: 0, max: BANKS }), fc.integer({ min: 0, max: 1 }))
        .map(([b, v]) => (b << 8) | v),
    ),
  },
  {
    weight: 1,
    arbitrary: writeGlobal(
      bank.map((at) => regs.cbacrOffset(at)),
      fc.constantFrom(0, 0x01000000, 0x00010000, 0x02000000),
    ),
  },
);

const operation: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 40,
    arbitrary: fc.record({
      kind: fc.constant('transfer' as const),
      mid: fc.integer({ min: 0, max: MASTERS - 1 }),
      page,
      bytes: fc.constantFrom(4, 4, 4, 4100),
      isWrite: fc.boolean(),
    }),
  },
  { weight: 40, arbitrary: bankWrite },
  { weight: 8, arbitrary: globalWrite },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('page' as const),
      page: fc.integer({ min: 0, max: PAGES - 1 }),
      target: fc.integer({ min: 0, max: 15 }),
      isGlobal: fc.boolean(),
      isMapped: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('section' as const),
      section: fc.integer({ min: 0, max: SECTIONS - 1 }),
      descriptor: fc.constantFrom(0, 0x40000000 | SECTION, 0x40000000 | GLOBAL_SECTION, HIGH_SUPERSECTION),
    }),
  },
  { weight: 8, arbitrary: fc.constant({ kind: 'run' as const }) },
);
const operations = (most: number) => fc.array(operation, { minLength: 1, maxLength: most, size: 'max' });

describe('a snapshot taken at any moment', () => {
  test('the instance that restores it, used before and in another world, answers everything as the first', () => {
    const seen = { parked: 0, inSeveralBanks: 0, resuming: 0, ending: 0, locked: 0, prefetched: 0 };
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: INSTANCES.length - 1 }),
        operations(60),
        operations(20),
        operations(50),
        (at, before, elsewhere, after) => {
          const config = INSTANCES[at] as Partial<MsmSmmuConfig>;
          const first = new Board(1, config);
          for (const each of before) first.apply(each);
          const second = new Board(2, { ...config, name: 'another', traceAccesses: false });
          second.world.clock.advance(1000);
          for (const each of elsewhere) second.apply(each);

          const snapshot = first.snapshot();
          second.restore(snapshot);
          first.heard.length = 0;
          expect(second.smmu.snapshot()).toEqual(first.smmu.snapshot());
          count(snapshot.smmu, seen);

          const steps = after.map((each, step) => {
            const [expected, answer] = [first, second].map((board) => board.apply(each) + board.state());
            return { step, each, expected, answer };
          });
          expect(steps.find(({ expected, answer }) => answer !== expected)).toBeUndefined();
          for (const board of [first, second]) board.world.clock.run();
          expect(second.heard).toEqual(first.heard);
          expect(second.state()).toEqual(first.state());
          expect(second.smmu.snapshot()).toEqual(first.smmu.snapshot());
          expect(second.memory() === first.memory()).toBe(true);
        },
      ),
      { numRuns: RUNS, seed: SEED, unbiased: true },
    );
    if (process.env['FC_RUNS'] !== undefined) console.info('snapshot property', { SEED, RUNS, ...seen });
  }, 60_000);
});

function count(snapshot: SmmuSnapshot, seen: Record<string, number>): void {
  const { banks, tlb, fetchBuffer } = snapshot;
  const holding = banks.filter(({ stall }) => stall.isBlocked);
  const add = (what: string, isSo: boolean): void => {
    seen[what] = (seen[what] ?? 0) + (isSo ? 1 : 0);
  };
  add(
    'parked',
    holding.some(({ stall }) => stall.waiting.length > 0),
  );
  add('inSeveralBanks', holding.length > 1);
  add(
    'resuming',
    banks.some(({ stall }) => stall.resuming !== null),
  );
  add(
    'ending',
    banks.some(({ stall }) => stall.ending.length > 0),
  );
  add(
    'locked',
    tlb.entries.some(({ isLocked }) => isLocked),
  );
  add('prefetched', fetchBuffer.blocks.length > 0);
}
