import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Protection } from '../src/index.ts';
import { K } from './fake-iommu.ts';
import { type Command, SpaceRun } from './space-run.ts';

const range = {
  /** Mostly multiples of 16 KiB, that all can map. */
  iova: fc.oneof(
    { weight: 6, arbitrary: fc.integer({ min: 4, max: 250 }).map((n) => n * 16 * K) },
    { weight: 1, arbitrary: fc.integer({ min: 0, max: 1000 }).map((n) => n * 4 * K) },
  ),
  size: fc.oneof(
    { weight: 6, arbitrary: fc.integer({ min: 1, max: 5 }).map((n) => n * 16 * K) },
    { weight: 1, arbitrary: fc.constantFrom(4 * K, 512 * K) },
  ),
};
const piece = fc.record({
  address: fc.integer({ min: 1, max: 60 }).map((n) => n * 64 * K),
  length: range.size,
});
const command: fc.Arbitrary<Command> = fc.record({
  what: fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom('map', 'mapSg', 'unmap', 'attach') },
    { weight: 2, arbitrary: fc.constantFrom('detach', 'configure', 'cleanup', 'replace', 'register') },
    { weight: 1, arbitrary: fc.constantFrom('configure', 'configure', 'register', 'remove') },
  ),
  ...range,
  pieces: fc.array(piece, { minLength: 1, maxLength: 4 }),
  aim: fc.integer({ min: 0, max: 3 }),
  protection: fc.constantFrom<Protection>({ read: true, write: true }, { read: true, write: false }),
  which: fc.nat({ max: 100 }),
  /** The step that fails; most often none. */
  failAt: fc.oneof(
    { weight: 3, arbitrary: fc.constant(null) },
    { weight: 1, arbitrary: fc.integer({ min: 1, max: 8 }) },
  ),
});
test.each(['members', 'all'] as const)(
  'an address space over %s is a flat map of pages, whatever happens to its members and IOMMUs',
  (span) => {
    const seen = new Map<string, number>();
    fc.assert(
      fc.property(fc.array(command, { maxLength: 60, size: 'max' }), (commands) => {
        const run = new SpaceRun(span);
        for (const each of commands) {
          const outcome = run.step(each);
          seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
          run.check();
        }
        run.end();
      }),
      { numRuns: 80 },
    );
    const total = [...seen.values()].reduce((sum, n) => sum + n, 0);
    const good = [...seen].filter(([k]) => k.endsWith(' ok')).reduce((sum, [, n]) => sum + n, 0);
    const share = (name: string): number => (seen.get(name) ?? 0) / total;
    expect(good / total).toBeGreaterThan(0.45);
    for (const name of ['map ok', 'mapSg ok', 'unmap ok', 'attach ok', 'map ENOMEM', 'attach ENOMEM']) {
      expect([name, share(name) > 0.001]).toEqual([name, true]);
    }
  },
);
