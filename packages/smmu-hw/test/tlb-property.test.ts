import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { MsmSmmuConfig } from '../src/index.ts';
import type { Readings } from '../src/readings.ts';
import type { Right } from './support/tlb-model.ts';
import { PAGES, Pair, type MaintenanceName, type Operation, type Seen } from './support/tlb-pair.ts';

const SEED = Number(process.env['FC_SEED'] ?? 2010);
const RUNS = Number(process.env['FC_RUNS'] ?? 150);

/** Geometry and readings of the instances that are tried, each with both readings of `multiHit`. */
const INSTANCES: readonly (Omit<Partial<MsmSmmuConfig>, 'readings'> & { readings?: Partial<Readings> })[] = [
  {},
  { tlbEntries: 8, tlbWays: 2 },
  { tlbEntries: 8, tlbWays: 1 },
  { tlbEntries: 16, tlbWays: 16 },
  { tlbEntries: 16, tlbWays: 4, tlbReplacement: 'random' },
  { tlbEntries: 256, tlbWays: 8 },
  { tlbEntries: 16, readings: { failedWalks: 'kept' } },
  { tlbEntries: 16, readings: { tlbTags: 'bank-vmid-and-asid' } },
  { readings: { contextInvalidateScope: 'vmid-and-asid' } },
  { readings: { contextInvalidateScope: 'bank' } },
  { readings: { asidInvalidateGlobals: 'dropped', addressInvalidateGlobals: 'kept' } },
  { tlbEntries: 16, readings: { lockdown: 'none' } },
  { tlbEntries: 16, readings: { globalInvalidateLocked: 'dropped' } },
  { tlbEntries: 8, readings: { failedWalks: 'kept', tlbTags: 'bank-vmid-and-asid' } },
];

const bank = fc.integer({ min: 0, max: 2 });
const asid = fc.integer({ min: 1, max: 3 });
/** Some pages often, so that they are asked for again. */
const page = fc.oneof(
  { weight: 2, arbitrary: fc.constantFrom(0, 1, 3, 17, 33, 40) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 2 * PAGES - 1 }) },
);
const right = fc.constantFrom<Right>('pr', 'pw', 'ur', 'uw');
const name = fc.constantFrom<MaintenanceName>(
  ...([
    'TLBIVA',
    'TLBIVA',
    'TLBIVA',
    'TLBIVAA',
    'TLBIASID',
    'CTX_TLBIALL',
    'GLOBAL_TLBIALL',
    'TLBIVMID',
  ] as const),
);

const operation: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constant('map' as const),
      bank,
      page,
      size: fc.constantFrom(0, 0, 0, 0, 1, 1, 1, 2, 3),
      place: fc.integer({ min: 1, max: 3 }),
      isGlobal: fc.boolean(),
      ap: fc.constantFrom(1, 2, 3, 3, 3),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('unmap' as const), bank, page }) },
  {
    weight: 30,
    arbitrary: fc.record({ kind: fc.constant('access' as const), bank, page, isWrite: fc.boolean() }),
  },
  { weight: 30, arbitrary: fc.record({ kind: fc.constant('probe' as const), bank, page, right }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('look up' as const), bank, page }) },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('lock' as const),
      bank,
      page,
      right,
      index: fc.integer({ min: 0, max: 20 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('lock control' as const),
      bank,
      survive: fc.constantFrom(0, 2, 4, 8, 14),
      floor: fc.constantFrom(0, 0, 1, 3, 8),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('global control' as const),
      bits: fc.integer({ min: 0, max: 3 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('asid' as const), bank, asid }) },
  { weight: 7, arbitrary: fc.record({ kind: fc.constant('maintenance' as const), name, bank, page, asid }) },
);

describe('the TLB against its rules', () => {
  test('R15 R17 to R28 R59: after any sequence of maps, accesses, locks and invalidations the model agrees', () => {
    const seen: Seen = {
      answers: 0,
      hits: 0,
      stale: 0,
      multiHits: 0,
      multiHitFaults: 0,
      replaced: 0,
      lockedHits: 0,
      locks: 0,
      unkept: 0,
    };
    const pairs = INSTANCES.flatMap((config) =>
      (['fault', 'smaller-page'] as const).map(
        (multiHit) => new Pair({ ...config, readings: { ...config.readings, multiHit } }, seen),
      ),
    );
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: pairs.length - 1 }),
        fc.array(operation, { minLength: 1, maxLength: 200, size: 'max' }),
        (at, operations) => {
          const pair = pairs[at] as Pair;
          pair.reset();
          const wrong = operations.map((op, step) => ({ step, op, wrong: pair.apply(op) }));
          expect(wrong.find((each) => each.wrong.length > 0)).toBeUndefined();
          const { shown, expected } = pair.entries();
          expect(shown).toEqual(expected);
        },
      ),
      { numRuns: RUNS, seed: SEED, unbiased: true },
    );
    if (process.env['FC_RUNS'] !== undefined) console.info('TLB property', { SEED, RUNS, ...seen });
    // A few runs say nothing about how often things happen.
    if (RUNS < 100) return;
    expect(seen.hits / seen.answers).toBeGreaterThan(0.25);
    expect(seen.stale / seen.answers).toBeGreaterThan(0.05);
    expect(seen.multiHitFaults / seen.answers).toBeGreaterThan(0.01);
    expect((seen.multiHits - seen.multiHitFaults) / seen.answers).toBeGreaterThan(0.005);
    expect(seen.replaced / seen.answers).toBeGreaterThan(0.05);
    expect(seen.lockedHits / seen.answers).toBeGreaterThan(0.02);
    expect(seen.locks / seen.answers).toBeGreaterThan(0.02);
    expect(seen.unkept).toBeGreaterThan(0);
  }, 60_000);
});
