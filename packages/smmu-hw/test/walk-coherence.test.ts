/** Whether a walk sees what stands in the CPU's cache only (R54). */
import { expect, test } from '@jest/globals';
import { underEveryReading } from './support/every-reading.ts';
import { FAULT, SL, TF } from './support/fault-bits.ts';
import { SECOND, TABLE, regs } from './support/rig.ts';

/** SH=1, NOS=1, inner and outer write-back: what drivers with tables in the cache write. */
const WALKS_IN_CACHE = 0x6a;
/** Through TTBR1. */
const UPPER_TABLE = 0x40004000;

underEveryReading((make) => {
  test('R54 with TTBR attributes 0 the walker reads memory: a descriptor in the cache only is not there yet', () => {
    const rig = make();
    rig.attach(0);
    rig.cacheWord(TABLE + 4, 0x41130c06);
    expect(rig.probe(0, 0x00100000)).toBe(FAULT | TF);
    rig.cache.clean((TABLE + 4) as never, 4);
    rig.flush();
    expect(rig.probe(0, 0x00100000) & 0xfffff001).toBe(0x41100000);
  });

  test('R54 with TTBR attributes 0 a descriptor removed in the cache only is still there', () => {
    const rig = make();
    rig.attach(0);
    rig.first(0x00100000, 0x41130c06);
    rig.cacheWord(TABLE + 4, 0);
    expect(rig.probe(0, 0x00100000) & 0xfffff001).toBe(0x41100000);
  });

  test('R54 with 0x6A the walker sees the cache at both levels', () => {
    const rig = make();
    rig.attach(0, { ttbr0: TABLE | WALKS_IN_CACHE });
    rig.cacheWord(TABLE + 4, SECOND | 1);
    expect(rig.probe(0, 0x00100000)).toBe(FAULT | TF | SL);
    rig.cacheWord(SECOND, 0x40123c36);
    rig.flush();
    expect(rig.probe(0, 0x00100000) & 0xfffff001).toBe(0x40123000);
    expect([rig.peek(TABLE + 4), rig.peek(SECOND)]).toEqual([0, 0]);
  });

  test('R54 the walker sees the cache iff SH=1 and IRGN or ORGN is not 0, in TTBR0', () => {
    const rig = make();
    rig.attach(0);
    rig.cacheWord(TABLE + 4, 0x41130c06);
    // Bit 2 has no field.
    const all = Array.from({ length: 0x80 }, (_, attributes) => attributes).filter(
      (bits) => (bits & 4) === 0,
    );
    const seeing = all.filter((attributes) => {
      rig.set(0, regs.TTBR0, TABLE | attributes);
      rig.flush();
      return (rig.probe(0, 0x00100000) & FAULT) === 0;
    });
    expect(seeing).toEqual(all.filter(seesCache));
  });

  test('R54 TTBR1 has attributes of its own', () => {
    const rig = make();
    rig.attach(0, { ttbcr: 1 });
    rig.cacheWord(TABLE + 4, 0x41130c06);
    rig.cacheWord(UPPER_TABLE + 0x2004, 0x42230c06);
    for (const [lower, upper] of [
      [0, 0],
      [0, WALKS_IN_CACHE],
      [WALKS_IN_CACHE, 0],
      [WALKS_IN_CACHE, WALKS_IN_CACHE],
    ] as const) {
      rig.set(0, regs.TTBR0, TABLE | lower);
      rig.set(0, regs.TTBR1, UPPER_TABLE | upper);
      rig.flush();
      expect([rig.probe(0, 0x00100000) & 0xfffff003, rig.probe(0, 0x80100000) & 0xfffff003]).toEqual([
        lower === 0 ? FAULT | TF : 0x41100000,
        upper === 0 ? FAULT | TF : 0x42200000,
      ]);
    }
  });

  test('R54 accesses walk as V2P does', () => {
    const rig = make();
    rig.route(0, 0);
    rig.attach(0);
    rig.cacheWord(TABLE + 4, 0x41130c06);
    expect(rig.addressOf(0, 0x00100000)).toBe('faulted');
    rig.set(0, regs.TTBR0, TABLE | WALKS_IN_CACHE);
    rig.flush();
    expect(rig.addressOf(0, 0x00100000)).toBe(0x41100000);
  });
});

/** Bits: IRGN is {0, 6}, SH is 1, ORGN is 4:3; NOS is 5 and does not count. */
function seesCache(attributes: number): boolean {
  return (attributes & 0x02) !== 0 && (attributes & 0x59) !== 0;
}
