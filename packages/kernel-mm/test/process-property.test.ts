import { expect, test } from '@jest/globals';
import { virtAddr } from '@iommu-lab/machine';
import fc from 'fast-check';
import { codeOf, PAGE, setup } from './setup.ts';

const bytes = (size: number, salt: number): Uint8Array =>
  Uint8Array.from({ length: size }, (_, i) => (i * 7 + salt) % 251);

test('property: two processes read back what they wrote, whatever is mapped and unmapped in between', () => {
  const step = fc.record({
    who: fc.integer({ min: 0, max: 1 }),
    op: fc.constantFrom('map', 'unmap', 'write', 'write', 'read'),
    pages: fc.integer({ min: 1, max: 4 }),
    pick: fc.nat(),
    offset: fc.integer({ min: 0, max: PAGE - 1 }),
    size: fc.integer({ min: 1, max: 2 * PAGE }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const { allocator, tables, start } = setup(
        128,
        {},
        { sets: 4, ways: 1, evictOneIn: 3, speculateOneIn: 3 },
      );
      const sides = ['a', 'b'].map((name) => ({
        process: start(name),
        /** Bytes of each mapped page. */
        pages: new Map<number, Uint8Array>(),
      }));
      steps.forEach((s, salt) => {
        const { process, pages } = sides[s.who]!;
        const known = [...pages.keys()];
        const page = known[s.pick % Math.max(1, known.length)];
        if (s.op === 'map') {
          const at = process.mmap(s.pages * PAGE);
          for (let i = 0; i < s.pages; i++) pages.set(at + i * PAGE, new Uint8Array(PAGE));
        } else if (page === undefined) {
          return;
        } else if (s.op === 'unmap') {
          process.munmap(virtAddr(page), PAGE);
          pages.delete(page);
        } else {
          const start = page + s.offset;
          const covered = Array.from({ length: s.size }, (_, i) => start + i);
          const whole = covered.every((at) => pages.has(at - (at % PAGE)));
          const data = bytes(s.size, salt);
          const run = () =>
            s.op === 'write' ? process.write(virtAddr(start), data) : process.read(virtAddr(start), data);
          const code = codeOf(run);
          expectCode(code, whole ? 'none' : 'EFAULT');
          if (!whole) return;
          for (const [i, at] of covered.entries()) {
            const known = pages.get(at - (at % PAGE))!;
            if (s.op === 'write') known[at % PAGE] = data[i]!;
            else if (known[at % PAGE] !== data[i]) throw new Error(`byte ${at} differs`);
          }
        }
      });
      for (const { process, pages } of sides) {
        for (const [page, expected] of pages) {
          const into = new Uint8Array(PAGE);
          process.read(virtAddr(page), into);
          expect(Buffer.compare(into, expected)).toBe(0);
        }
        process.exit();
      }
      expect([allocator.freeBytes, tables.allocatedBytes]).toEqual([allocator.totalBytes, 0]);
    }),
    { numRuns: 60 },
  );
});

function expectCode(got: unknown, expected: string): void {
  expect(got).toBe(expected);
}
