/** Which table serves an address, and where it stands (R34, R35). */
import { expect, test } from '@jest/globals';
import { underEveryReading } from './support/every-reading.ts';
import { FAULT, TF } from './support/fault-bits.ts';
import { TABLE, regs, type Rig } from './support/rig.ts';

/** The table of TTBR1. */
const UPPER = 0x40004000;
/** Sections that say which table an address was looked up in. */
const IN_LOWER = 0x41130c06;
const IN_UPPER = 0x42230c06;
/** PAR.NOFAULT_SH and NOFAULT_NOS, as class 1 of the kernel's PRRR has them with S=1. */
const SHARED_INSIDE = 0x480;

underEveryReading((make, readings) => {
  test('R34 TTBR0 serves the addresses whose top TTBCR.N bits are 0, TTBR1 the others, for every N', () => {
    const rig = split(0);
    for (const [n, lastLower, firstUpper] of [
      [0, 0xfff00000, undefined],
      [1, 0x7ff00000, 0x80000000],
      [2, 0x3ff00000, 0x40000000],
      [3, 0x1ff00000, 0x20000000],
      [4, 0x0ff00000, 0x10000000],
      [5, 0x07f00000, 0x08000000],
      [6, 0x03f00000, 0x04000000],
      [7, 0x01f00000, 0x02000000],
    ] as const) {
      rig.set(0, regs.TTBCR, n);
      rig.flush();
      const lower = [0x00000000, 0x00100000, lastLower];
      const upper = firstUpper === undefined ? [] : [firstUpper, firstUpper + 0x100000, 0xfff00000];
      for (const va of [...lower, ...upper]) map(rig, va);
      expect([n, lower.map((va) => rig.addressOf(0, va))]).toEqual([n, lower.map(() => 0x41100000)]);
      expect([n, upper.map((va) => rig.addressOf(0, va))]).toEqual([n, upper.map(() => 0x42200000)]);
    }
  });

  test('R34 with the same base in both registers every N gives the results of N=0', () => {
    const addresses = [0x00100000, 0x02100000, 0x10100000, 0x7ff00000, 0x80100000, 0xfff00000];
    const rig = split(0);
    rig.set(0, regs.TTBR1, TABLE);
    // Each address has a section of its own.
    addresses.forEach((va, i) => rig.first(va, 0x41130c06 + i * 0x100000));
    const results = [0, 1, 2, 3, 4, 5, 6, 7].map((n) => {
      rig.set(0, regs.TTBCR, n);
      rig.flush();
      return addresses.map((va) => rig.addressOf(0, va));
    });
    const expected = [0x41100000, 0x41200000, 0x41300000, 0x41400000, 0x41500000, 0x41600000];
    expect(results).toEqual(results.map(() => expected));
  });

  test('R34 PD0 and PD1 make the walks of their half TF, for every N', () => {
    const rig = split(0);
    const addresses = [0x00100000, 0xfff00000];
    for (const va of addresses) map(rig, va);
    // What an access comes to, FSR, and PAR.
    const fails = ['faulted', TF, FAULT | TF];
    const inLower = [0x41100000, 0, 0x41100000 | SHARED_INSIDE];
    const inUpper = [0x42200000, 0, 0x42200000 | SHARED_INSIDE];
    for (let n = 0; n < 8; n++) {
      for (const [disabled, expected] of [
        [0x10, [fails, n === 0 ? fails : inUpper]],
        [0x20, [inLower, n === 0 ? inLower : fails]],
        [0x30, [fails, fails]],
      ] as const) {
        rig.set(0, regs.TTBCR, n | disabled);
        rig.flush();
        const seen = addresses.map((va) => {
          rig.set(0, regs.FSR, 0xffffffff);
          return [rig.addressOf(0, va), rig.get(0, regs.FSR), rig.probe(0, va)];
        });
        expect([n, disabled, seen]).toEqual([n, disabled, expected]);
      }
    }
  });

  test('R34 PD0 and PD1 stop walks, not what the TLB has', () => {
    const rig = split(1);
    for (const va of [0x00100000, 0x80100000]) {
      map(rig, va);
      rig.translate(0, va);
    }
    rig.set(0, regs.TTBCR, 0x31);
    expect([0x00100000, 0x80100000].map((va) => rig.addressOf(0, va))).toEqual([0x41100000, 0x42200000]);
  });

  test('R35 the low 14 bits of TTBR0 (N=0) and of TTBR1 never take part in the address', () => {
    for (const low of [0x3fff, 0x006a, 0x2000, 0x3f80]) {
      const rig = make();
      rig.route(0, 0);
      rig.attach(0, { ttbr0: TABLE | low });
      map(rig, 0x00100000);
      expect(rig.addressOf(0, 0x00100000)).toBe(0x41100000);
      rig.attach(0, { ttbr0: TABLE | low, ttbr1: UPPER | low, ttbcr: 1 });
      map(rig, 0x80100000);
      expect(rig.addressOf(0, 0x80100000)).toBe(0x42200000);
    }
  });

  test('R35 TTBR0 with N=0 to 7: the base is [31:14], or [31:14-N] if so read', () => {
    for (const [n, step] of [
      [0, 0x4000],
      [1, 0x2000],
      [2, 0x1000],
      [3, 0x0800],
      [4, 0x0400],
      [5, 0x0200],
      [6, 0x0100],
      [7, 0x0080],
    ] as const) {
      const rig = split(n);
      // One table at a multiple of 16 KiB, one at a multiple of its own size.
      rig.word(TABLE + 4, 0x41130c06);
      rig.word(TABLE + step + 4, 0x43330c06);
      rig.set(0, regs.TTBR0, TABLE + step + (step - 1));
      const isOwnSize = n === 0 || readings.ttbr0Base === 'by-ttbcr-n';
      expect([n, rig.addressOf(0, 0x00100000)]).toEqual([n, isOwnSize ? 0x43300000 : 0x41100000]);
    }
  });

  /** Bank 0 with the two tables, machine id 0 routed to it. */
  function split(ttbcr: number): Rig {
    const rig = make();
    rig.route(0, 0);
    rig.attach(0, { ttbcr, ttbr0: TABLE, ttbr1: UPPER });
    return rig;
  }
});

/** Maps the section of `va` in both tables, to places that tell them apart. */
function map(rig: Rig, va: number): void {
  rig.first(va, IN_LOWER, TABLE);
  rig.first(va, IN_UPPER, UPPER);
}
