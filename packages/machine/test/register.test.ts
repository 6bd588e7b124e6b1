import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  bit,
  bits,
  decode,
  encode,
  extract,
  insert,
  maskOf,
  reg32,
  RegisterFile,
  type Field,
} from '../src/index.ts';

const CR = reg32('CR', 0x0, 'rw', 'control', { EN: bit(0, 'on'), LEVEL: bits(31, 28, 'level') }, 0x40);
const ID = reg32('ID', 0x4, 'ro', 'identity', {}, 0x1234);
const KICK = reg32('KICK', 0x8, 'wo', 'trigger');
const SR = reg32('SR', 0xc, 'w1c', 'status', { TF: bit(1, 'fault'), MULTI: bit(31, 'more than one') });
const ROWS = [CR, ID, KICK, SR];

const field: fc.Arbitrary<Field> = fc
  .tuple(fc.integer({ min: 0, max: 31 }), fc.integer({ min: 0, max: 31 }))
  .map(([a, b]) => bits(Math.max(a, b), Math.min(a, b), 'any'));
const word = fc.integer({ min: 0, max: 0xffff_ffff });

describe('fields', () => {
  test('property: extract gives back what insert put in, and no other bit moves', () => {
    fc.assert(
      fc.property(word, field, word, (before, f, value) => {
        const after = insert(before, f, value);
        const width = BigInt(f.width);
        const cut = Number(BigInt.asUintN(Number(width), BigInt(value)));
        expect(extract(after, f)).toBe(cut);
        const mask = ((1n << width) - 1n) << BigInt(f.shift);
        expect(BigInt(after)).toBe((BigInt(before) & ~mask) | (BigInt(cut) << BigInt(f.shift)));
        expect(BigInt(maskOf(f))).toBe(mask);
      }),
    );
  });

  test('encode and decode speak field names; fields not named are 0', () => {
    expect(encode(CR, { EN: 1, LEVEL: 0xf })).toBe(0xf000_0001);
    expect(decode(CR, 0xf000_0001)).toEqual({ EN: 1, LEVEL: 15 });
    expect(encode(SR, {})).toBe(0);
  });
});

describe('RegisterFile', () => {
  test('rw keeps, ro ignores, wo reads 0, w1c clears the ones', () => {
    const file = new RegisterFile(ROWS);
    file.write(0x0, 0xffff_fffe);
    expect(file.read(0x0)).toBe(0xffff_fffe);
    file.write(0x4, 0);
    expect(file.read(0x4)).toBe(0x1234);
    file.write(0x8, 5);
    expect(file.read(0x8)).toBe(0);
    file.set(SR, 0x8000_0003);
    file.write(0xc, 0x8000_0001);
    expect(file.read(0xc)).toBe(2);
  });

  test('an offset without register reads 0 and ignores writes', () => {
    const file = new RegisterFile(ROWS);
    file.write(0x100, 7);
    expect(file.read(0x100)).toBe(0);
  });

  test('hooks run in order: before the store, after it, and on a read', () => {
    const file = new RegisterFile(ROWS);
    const log: string[] = [];
    file.on(CR, {
      beforeWrite: (value) => {
        log.push(`before ${file.get(CR)}`);
        return value & 0xff;
      },
      afterWrite: (value) => log.push(`after ${value} ${file.get(CR)}`),
      onRead: (stored) => stored | 0x8000_0000,
    });
    file.on(KICK, { afterWrite: (value) => log.push(`kick ${value}`) });
    file.write(0x0, 0x1ff);
    file.write(0x8, 9);
    expect(log).toEqual(['before 64', 'after 255 255', 'kick 9']);
    expect(file.read(0x0)).toBe(0x8000_00ff);
    expect(file.get(CR)).toBe(0xff);
  });

  test('a w1c hook sees the bits about to be cleared and may spare some', () => {
    const file = new RegisterFile(ROWS);
    file.on(SR, { beforeWrite: (value) => value & ~2 });
    file.set(SR, 3);
    file.write(0xc, 3);
    expect(file.get(SR)).toBe(2);
  });

  test('writes to a ro register run no afterWrite', () => {
    const file = new RegisterFile(ROWS);
    let calls = 0;
    file.on(ID, { afterWrite: () => calls++ });
    file.write(0x4, 1);
    expect(calls).toBe(0);
  });

  test('reset puts back reset values; dump lists by name in row order', () => {
    const file = new RegisterFile(ROWS);
    file.set(SR, 0xffff_ffff);
    file.write(0, 1);
    file.reset();
    expect(Object.entries(file.dump())).toEqual([
      ['CR', 0x40],
      ['ID', 0x1234],
      ['KICK', 0],
      ['SR', 0],
    ]);
  });

  test('restore stores what dump gave, in registers of every access kind, and runs no hook', () => {
    const from = new RegisterFile(ROWS);
    from.set(CR, 0x8000_0001);
    from.set(ID, 0xffff_ffff);
    from.set(KICK, 5);
    from.set(SR, 0x8000_0002);
    const file = new RegisterFile(ROWS);
    file.set(SR, 1);
    let calls = 0;
    const count = (value: number) => {
      calls++;
      return value;
    };
    for (const row of ROWS) file.on(row, { beforeWrite: count, afterWrite: count, onRead: count });
    file.restore(JSON.parse(JSON.stringify(from.dump())));
    expect(calls).toBe(0);
    expect(file.dump()).toEqual(from.dump());
  });

  test('registers that restore is not told of keep their value; names that are no register are passed over', () => {
    const file = new RegisterFile(ROWS);
    file.set(CR, 7);
    file.restore({ SR: 0, ID: 9, ELSEWHERE: 1 });
    expect(file.dump()).toEqual({ CR: 7, ID: 9, KICK: 0, SR: 0 });
  });

  test('a shared or unaligned offset is EINVAL, a row of another file ENOENT', () => {
    const twin = reg32('TWIN', 0x0, 'rw', 'same offset as CR');
    expect(() => new RegisterFile([CR, twin])).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    expect(() => new RegisterFile([reg32('ODD', 2, 'rw', 'unaligned')])).toThrow(
      expect.objectContaining({ code: 'EINVAL' }),
    );
    expect(() => new RegisterFile(ROWS).get(twin)).toThrow(expect.objectContaining({ code: 'ENOENT' }));
    expect(() => new RegisterFile(ROWS).on(twin, {})).toThrow(expect.objectContaining({ code: 'ENOENT' }));
  });
});
