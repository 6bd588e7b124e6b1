import { describe, expect, test } from '@jest/globals';
import { mutated, placesIn } from '../places.mjs';

/** Every changed form of `code`. */
function changesOf(code: string): string[] {
  return placesIn('sample.ts', code).map((place) => mutated(code, place));
}

describe('operators', () => {
  test.each([
    ['a & b', ['a | b']],
    ['a | b', ['a & b']],
    ['a ^ b', ['a | b', 'a & b']],
    ['a << b', ['a >>> b']],
    ['a >> b', ['a << b', 'a >>> b']],
    ['a >>> b', ['a << b', 'a >> b']],
    ['a &= b', ['a |= b']],
    ['a |= b', ['a &= b']],
    ['a ^= b', ['a |= b', 'a &= b']],
    ['a <<= b', ['a >>>= b']],
    ['a >>= b', ['a <<= b', 'a >>>= b']],
    ['a >>>= b', ['a <<= b', 'a >>= b']],
    ['a & ~b', ['a | ~b', 'a & b']],
  ])('%s', (code, changes) => {
    expect(changesOf(code)).toEqual(changes);
  });

  test('types, logical operators, strings and comments are no places', () => {
    const code = [
      'type A = B | (C & 0x10);',
      'const a: 0x1 | 0x2 = b && c || d; // a & b',
      "f('a & b', `0x10`);",
      'g(h as A | B);',
    ].join('\n');
    expect(changesOf(code)).toEqual([]);
  });

  test('a place inside another is a place of its own', () => {
    expect(changesOf('(a & b) | c')).toEqual(['(a | b) | c', '(a & b) & c']);
    expect(changesOf('`${a & b}`')).toEqual(['`${a | b}`']);
  });

  test('a shift that comes to the same is no place', () => {
    expect(changesOf('a >>> 0')).toEqual(['a >> 0']);
    expect(changesOf('(a >>> 30) & 3').filter((code) => code.includes('a >> '))).toEqual([]);
    expect(changesOf('(a >>> b) & 3')).not.toContain('(a >> b) & 3');
    expect(changesOf('((a as number) >>> 30) & 7')).toContain('((a as number) >> 30) & 7');
  });
});

describe('numbers', () => {
  test.each([
    ['0xff', ['0x7f', '0xfe', '0x1ff']],
    ['0x0ff0', ['0x07f0', '0x0fe0', '0x1ff0', '0x0ff8']],
    ['0x10', ['0x00', '0x30', '0x18']],
    ['0b110', ['0b010', '0b100', '0b1110', '0b111']],
    ['0x0', ['0x1']],
    ['0xfn', ['0x7n', '0xen', '0x1fn']],
    ['a > 0xffffffff', ['a > 0x7fffffff', 'a > 0xfffffffe', 'a > 0x1ffffffff']],
    ['f(12)', ['f(13)']],
    ['1.5', []],
  ])('%s', (code, changes) => {
    expect(changesOf(code)).toEqual(changes);
  });

  test('beside a bit operator a decimal number is a mask', () => {
    expect(changesOf('a & 3')).toEqual(['a | 3', 'a & 1', 'a & 2', 'a & 7']);
    expect(changesOf('a &= (1 as number)')).toEqual([
      'a |= (1 as number)',
      'a &= (0 as number)',
      'a &= (3 as number)',
    ]);
  });

  test('a bit that an operator on 32 bits never sees is not added', () => {
    expect(changesOf('a & 0xffffffff')).toEqual(['a | 0xffffffff', 'a & 0x7fffffff', 'a & 0xfffffffe']);
  });

  test('a shift count goes up and down by one', () => {
    expect(changesOf('1 << 10')).toEqual(['0 << 10', '3 << 10', '1 >>> 10', '1 << 9', '1 << 11']);
  });

  test('a property’s name is no place', () => {
    expect(changesOf('x = { 0x10: y }')).toEqual([]);
  });
});

test('a place says where it is, as editors count', () => {
  expect(placesIn('sample.ts', 'first();\n  x = a & b;')).toEqual([
    { start: 17, end: 18, line: 2, column: 9, before: '&', after: '|' },
  ]);
});
