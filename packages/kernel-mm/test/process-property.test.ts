import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { PhysicalPiece } from '../src/index.ts';
import { CheckedProcess } from './checked-process.ts';
import { PAGE, setup } from './setup.ts';

const step = fc.record({
  who: fc.integer({ min: 0, max: 1 }),
  op: fc.oneof(
    { weight: 16, arbitrary: fc.constantFrom('map' as const, 'pin' as const, 'unpin' as const) },
    { weight: 8, arbitrary: fc.constantFrom('unmap' as const, 'give' as const) },
    { weight: 60, arbitrary: fc.constantFrom('cpu' as const, 'device' as const, 'evict' as const) },
    { weight: 1, arbitrary: fc.constant('exit' as const) },
  ),
  lazy: fc.integer({ min: 0, max: 3 }).map((value) => value > 0),
  readOnly: fc.integer({ min: 0, max: 3 }).map((value) => value === 0),
  direction: fc.constantFrom('read' as const, 'write' as const),
  pages: fc.integer({ min: 1, max: 8 }),
  pick: fc.nat(),
  offset: fc.integer({ min: 0, max: PAGE - 1 }),
  size: fc.integer({ min: 1, max: 1.5 * PAGE }),
});

test('property: two processes and their devices read back what was written, whatever comes and goes in between', () => {
  const outcomes = new Map<string, number>();
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 80, size: 'max' }), (steps) => {
      const { allocator, tables, cache, start } = setup(
        1024,
        {},
        { sets: 4, ways: 1, evictOneIn: 3, speculateOneIn: 3 },
      );
      const startSide = (name: string): CheckedProcess => {
        const side = new CheckedProcess(start(name), cache);
        side.map(6, { lazy: true, readOnly: false });
        side.map(2, { lazy: false, readOnly: false });
        return side;
      };
      const sides = ['a', 'b'].map(startSide);
      const given: PhysicalPiece[][] = [[], []];
      /** Fresh frames for one side; what they are mapped in does not change whose they are. */
      const frames = (who: number, count: number): readonly PhysicalPiece[] => {
        const pieces = Array.from({ length: count }, () => ({ address: allocator.allocate(), length: PAGE }));
        for (const { address } of pieces) cache.cached.write(address, new Uint8Array(PAGE));
        given[who]?.push(...pieces);
        return pieces;
      };
      const run = (s: (typeof steps)[number], salt: number): string => {
        const side = sides[s.who] as CheckedProcess;
        const page = side.pick(s.pick) ?? 0;
        switch (s.op) {
          case 'map':
            side.map(s.pages, s);
            return 'done';
          case 'give':
            side.give(frames(s.who, s.pages), s.readOnly);
            return 'done';
          case 'unmap':
          case 'evict':
            return side[s.op](page, Math.ceil(s.pages / 4) * PAGE);
          case 'pin':
            return side.pin(page + s.offset, s.size);
          case 'unpin':
            side.unpin(s.pick);
            return 'done';
          case 'cpu':
            return side.access('cpu', page + s.offset, s.size, s.direction, salt);
          case 'device':
            return side.access(
              'device',
              page + s.offset,
              Math.min(s.size, PAGE - s.offset),
              s.direction,
              salt,
            );
          case 'exit':
            side.end();
            sides[s.who] = startSide('again');
            return 'done';
        }
      };
      steps.forEach((s, salt) => {
        const outcome = `${s.op} ${run(s, salt)}`;
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
        for (const [who, side] of sides.entries()) {
          side.checkPresence();
          if (side.process.mapsFrames(given[who] ?? []) !== side.hasGiven) throw new Error('given frames');
        }
      });
      for (const side of sides) side.end();
      for (const { address } of given.flat()) allocator.free(address);
      expect([allocator.freeBytes, tables.allocatedBytes]).toEqual([allocator.totalBytes, 0]);
    }),
    { numRuns: 100 },
  );
  // A run in which nearly everything is refused would prove little.
  const rare = [
    'evict done',
    'pin done',
    'unmap none',
    'give done',
    'cpu write done',
    'device read done',
    'device write done',
  ]
    .map((outcome) => [outcome, outcomes.get(outcome) ?? 0] as const)
    .filter(([, count]) => count < 100);
  expect(rare).toEqual([]);
});
