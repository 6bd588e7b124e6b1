import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ByteRanges } from '../../src/debug/byte-ranges.ts';

const SPACE = 24;
const range = fc
  .tuple(fc.nat(SPACE), fc.nat(SPACE))
  .map(([a, b]) => ({ start: Math.min(a, b), end: Math.max(a, b) }));

test('holds what was added and not removed, byte for byte', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ isAdd: fc.boolean(), range }), { maxLength: 30 }),
      fc.array(range, { maxLength: 5 }),
      (steps, questions) => {
        const ranges = new ByteRanges();
        const bytes = new Set<number>();
        for (const { isAdd, range: r } of steps) {
          if (isAdd) ranges.add(r.start, r.end);
          else ranges.remove(r.start, r.end);
          for (let at = r.start; at < r.end; at++) {
            if (isAdd) bytes.add(at);
            else bytes.delete(at);
          }
        }
        expect([...ranges]).toEqual(runs(bytes, 0, SPACE + 1));
        expect(ranges.isEmpty).toBe(bytes.size === 0);
        for (const { start, end } of questions) {
          expect(ranges.firstIn(start, end)).toEqual(runs(bytes, start, end)[0]);
          expect(ranges.firstOutside(start, end)).toEqual(runs(complement(bytes), start, end)[0]);
        }
      },
    ),
    { numRuns: 1000 },
  );
});

test('clear empties it', () => {
  const ranges = new ByteRanges();
  ranges.add(0, 10);
  ranges.clear();
  expect([...ranges]).toEqual([]);
});

/** Maximal runs of bytes of `bytes` in `[start, end)`. */
function runs(bytes: ReadonlySet<number>, start: number, end: number): { start: number; end: number }[] {
  const found: { start: number; end: number }[] = [];
  for (let at = start; at < end; at++) {
    if (!bytes.has(at)) continue;
    const last = found.at(-1);
    if (last?.end === at) last.end++;
    else found.push({ start: at, end: at + 1 });
  }
  return found;
}

function complement(bytes: ReadonlySet<number>): ReadonlySet<number> {
  return new Set(Array.from({ length: SPACE + 1 }, (_, at) => at).filter((at) => !bytes.has(at)));
}
