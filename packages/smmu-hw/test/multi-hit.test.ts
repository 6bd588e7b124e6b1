import { describe, expect, test } from '@jest/globals';
import { underEveryReading } from './support/every-reading.ts';
import { TABLE, regs, type Rig } from './support/rig.ts';
import { LEAVES, TERMINATE, indexOf, lock, lookUp, mapLeaf } from './support/tlb-pins.ts';

const VA = 0x03000000;
const SMALLER = 0x41000000;
const LARGER = 0x42000000;
const MHF = 0x80;

/** Each pair of sizes, the smaller first. */
const PAIRS = LEAVES.flatMap(([name, sizeBytes, bits, globalBits], i) =>
  LEAVES.slice(i + 1).map(
    ([largerName, largerBytes, largerBits, largerGlobal]) =>
      [
        `${name} and ${largerName}`,
        { sizeBytes, bits, globalBits },
        { sizeBytes: largerBytes, bits: largerBits, globalBits: largerGlobal },
      ] as const,
  ),
);

/** PAR if the V2P failed, else the upper bits of the address. */
function answerOf(par: number, shift: number): number {
  return (par & 1) === 1 ? par : par >>> shift;
}

/** What a table change without invalidation leads to. */
describe('two TLB entries for one address', () => {
  underEveryReading((make, readings) => {
    const isFault = readings.multiHit === 'fault';
    const areBanksApart = readings.tlbTags === 'bank-vmid-and-asid';

    function attached(): Rig {
      const rig = make();
      for (const bank of [0, 1]) {
        rig.attach(bank, { ttbr0: TABLE, actlr: TERMINATE });
        rig.route(bank, bank);
      }
      rig.word(SMALLER, 0x5a);
      return rig;
    }

    test.each(PAIRS)('open point 8, %s: MHF, or the smaller page answers', (_name, smaller, larger) => {
      for (const isGlobal of [0, 1, 2, 3]) {
        const rig = attached();
        mapLeaf(rig, VA, SMALLER, smaller.sizeBytes, isGlobal & 1 ? smaller.globalBits : smaller.bits);
        expect(rig.load(0, VA)).toBe(0x5a);
        mapLeaf(rig, VA, LARGER, larger.sizeBytes, isGlobal & 2 ? larger.globalBits : larger.bits);
        const beside = VA + smaller.sizeBytes;
        expect(rig.probe(0, beside) & 1).toBe(0);
        expect(rig.load(0, VA)).toBe(isFault ? undefined : 0x5a);
        expect(rig.get(0, regs.FSR)).toBe(isFault ? MHF : 0);
        expect(rig.get(0, regs.FAR)).toBe(isFault ? VA : 0);
        rig.set(0, regs.FSR, 0xffffffff);
        expect(rig.store(0, beside, 1).state).toBe('done');
        rig.set(0, regs.CTX_TLBIALL, 0);
        expect(rig.load(0, VA)).toBe(0);
      }
    });

    test('open point 8, a global entry and one of the ASID, of one size', () => {
      for (const [, sizeBytes, bits, globalBits] of LEAVES) {
        const rig = attached();
        mapLeaf(rig, VA, SMALLER, sizeBytes, bits);
        rig.probe(0, VA);
        mapLeaf(rig, VA, LARGER, sizeBytes, globalBits);
        rig.probe(1, VA);
        // Bank 0 has its own entry and the global one; bank 1, of another ASID, has the global one only.
        const isHitTwice = isFault && !areBanksApart;
        expect(isHitTwice ? [MHF | 1] : [SMALLER >>> 24, LARGER >>> 24]).toContain(
          answerOf(rig.probe(0, VA), 24),
        );
        expect(rig.probe(1, VA) >>> 24).toBe(LARGER >>> 24);
      }
    });

    test('open point 8, a V2P reports MHF in PAR, with and without the right to walk', () => {
      const rig = attached();
      mapLeaf(rig, VA, SMALLER, 0x1000, 0xc36);
      rig.probe(0, VA);
      mapLeaf(rig, VA, LARGER, 0x100000, 0x30c06);
      rig.probe(0, VA + 0x1000);
      for (const par of [rig.probe(0, VA), lookUp(rig, 0, VA).par, rig.probe(0, VA, regs.V2PUW)]) {
        expect(answerOf(par, 12)).toBe(isFault ? MHF | 1 : SMALLER >>> 12);
      }
    });

    test('open point 8, dropping one of the two entries ends it', () => {
      const rig = attached();
      mapLeaf(rig, VA, SMALLER, 0x1000, 0x436);
      rig.probe(0, VA);
      mapLeaf(rig, VA, LARGER, 0x100000, 0x30c06);
      rig.probe(0, VA + 0x1000);
      rig.set(0, regs.TLBIASID, 0);
      // The section is gone; so is the global page, if TLBIASID drops those, and then the walk finds the section.
      const areGone = readings.asidInvalidateGlobals === 'dropped';
      expect(rig.probe(0, VA) >>> 12).toBe((areGone ? LARGER : SMALLER) >>> 12);
    });

    test('open point 8, a locked entry and an ordinary one', () => {
      const rig = attached();
      mapLeaf(rig, VA, SMALLER, 0x1000, 0xc36);
      lock(rig, 0, VA, 5);
      mapLeaf(rig, VA, LARGER, 0x100000, 0x30c06);
      rig.probe(0, VA + 0x1000);
      expect(rig.load(0, VA)).toBe(isFault ? undefined : 0x5a);
      expect(rig.get(0, regs.FSR)).toBe(isFault ? MHF : 0);
    });

    test('open point 8, entries of different ASIDs or VMIDs are no multiple hit', () => {
      const rig = attached();
      mapLeaf(rig, VA, SMALLER, 0x1000, 0xc36);
      rig.probe(0, VA);
      mapLeaf(rig, VA, LARGER, 0x100000, 0x30c06);
      expect(rig.probe(1, VA) >>> 20).toBe(LARGER >>> 20);
      expect(rig.probe(0, VA) >>> 12).toBe(SMALLER >>> 12);
      expect(indexOf(rig, 0, VA)).not.toBe(indexOf(rig, 1, VA));
    });
  });
});
