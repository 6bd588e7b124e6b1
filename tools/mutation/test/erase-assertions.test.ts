import { expect, test } from '@jest/globals';
import { withoutAssertions } from '../erase-assertions.mjs';

test.each([
  ['a | (b as number) | c', 'a | (b          ) | c'],
  ['f((a as B) satisfies C)', 'f((a     )            )'],
  ['a as unknown as B', 'a                '],
  ['[1, 2] as const', '[1, 2]         '],
  ['x as {\n  y: 1;\n}', 'x     \n       \n '],
  ["'a as b' // c as d", "'a as b' // c as d"],
])('%s', (text, erased) => {
  expect(withoutAssertions('sample.ts', text)).toBe(erased);
});
