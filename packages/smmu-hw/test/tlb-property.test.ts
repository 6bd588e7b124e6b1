import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Rig, SECOND, TABLE, regs } from './rig.ts';

/** One mapping of each size, and a global one. Each may point to one of four places, or nowhere. */
const SLOTS = [
  { va: 0x00100000, sizeBytes: 0x1000, bits: 0xc36, isGlobal: false },
  { va: 0x00210000, sizeBytes: 0x10000, bits: 0xc35, isGlobal: false },
  { va: 0x00300000, sizeBytes: 0x100000, bits: 0x30c06, isGlobal: false },
  { va: 0x01000000, sizeBytes: 0x1000000, bits: 0x70c06, isGlobal: false },
  { va: 0x00400000, sizeBytes: 0x100000, bits: 0x10c06, isGlobal: true },
] as const;

type Operation =
  | { readonly kind: 'map'; readonly slot: number; readonly place: number }
  | { readonly kind: 'unmap'; readonly slot: number }
  | { readonly kind: 'probe'; readonly bank: number; readonly slot: number; readonly part: number }
  | { readonly kind: 'asid'; readonly bank: number; readonly asid: number }
  | { readonly kind: 'TLBIVA'; readonly slot: number; readonly part: number; readonly asid: number }
  | { readonly kind: 'TLBIVAA'; readonly slot: number; readonly part: number }
  | { readonly kind: 'TLBIASID'; readonly asid: number }
  | { readonly kind: 'CTX_TLBIALL'; readonly bank: number }
  | { readonly kind: 'GLOBAL_TLBIALL' };

const slot = fc.integer({ min: 0, max: SLOTS.length - 1 });
const bank = fc.integer({ min: 0, max: 1 });
const asid = fc.integer({ min: 1, max: 3 });
/** Where inside the page, in 256ths of its size. */
const part = fc.integer({ min: 0, max: 255 });

const operation: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ kind: fc.constant('map' as const), slot, place: fc.integer({ min: 0, max: 3 }) }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('unmap' as const), slot }) },
  { weight: 20, arbitrary: fc.record({ kind: fc.constant('probe' as const), bank, slot, part }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('asid' as const), bank, asid }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('TLBIVA' as const), slot, part, asid }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('TLBIVAA' as const), slot, part }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('TLBIASID' as const), asid }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('CTX_TLBIALL' as const), bank }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('GLOBAL_TLBIALL' as const) }) },
);

/** What the TLB holds, as a set of names: with room for everything, its content follows from the rules alone. */
class Model {
  readonly mapped: (number | undefined)[] = SLOTS.map(() => undefined);
  readonly held = new Map<string, number>();
  readonly asids = [1, 2];

  key(slotIndex: number, asidValue: number): string {
    return SLOTS[slotIndex]?.isGlobal === true ? `${slotIndex} global` : `${slotIndex} ${asidValue}`;
  }

  drop(matches: (key: string) => boolean): void {
    for (const key of [...this.held.keys()]) if (matches(key)) this.held.delete(key);
  }
}

function pageIn(slotIndex: number, partIndex: number): number {
  const { va, sizeBytes } = SLOTS[slotIndex] as (typeof SLOTS)[number];
  const offset = Math.floor((sizeBytes * partIndex) / 256 / 0x1000) * 0x1000;
  return va + offset;
}

function placeOf(slotIndex: number, place: number): number {
  const { sizeBytes } = SLOTS[slotIndex] as (typeof SLOTS)[number];
  return 0x80000000 + place * 0x10000000 + sizeBytes;
}

function setDescriptors(rig: Rig, slotIndex: number, word: number): void {
  const { va, sizeBytes } = SLOTS[slotIndex] as (typeof SLOTS)[number];
  const second = SECOND + slotIndex * 0x400;
  const put =
    sizeBytes < 0x100000 ? (at: number) => rig.second(at, word, second) : (at: number) => rig.first(at, word);
  const step = sizeBytes < 0x100000 ? 0x1000 : 0x100000;
  for (let at = va; at < va + sizeBytes; at += step) put(at);
}

/** Applies `op` to both. @returns for a probe: where the address went and where the rules say, and if it was stale. */
function apply(
  rig: Rig,
  model: Model,
  op: Operation,
): { got: number; want: number; isStale: boolean } | undefined {
  switch (op.kind) {
    case 'map':
      model.mapped[op.slot] = op.place;
      setDescriptors(rig, op.slot, placeOf(op.slot, op.place) | (SLOTS[op.slot]?.bits ?? 0));
      return undefined;
    case 'unmap':
      model.mapped[op.slot] = undefined;
      setDescriptors(rig, op.slot, 0);
      return undefined;
    case 'asid':
      model.asids[op.bank] = op.asid;
      rig.set(op.bank, regs.CONTEXTIDR, op.asid);
      return undefined;
    case 'TLBIVA':
      model.drop((key) => key === model.key(op.slot, op.asid));
      rig.set(0, regs.TLBIVA, pageIn(op.slot, op.part) | op.asid);
      return undefined;
    case 'TLBIVAA':
      model.drop((key) => key.startsWith(`${op.slot} `));
      rig.set(0, regs.TLBIVAA, pageIn(op.slot, op.part));
      return undefined;
    case 'TLBIASID':
      model.drop((key) => key.endsWith(` ${op.asid}`));
      rig.set(1, regs.TLBIASID, op.asid);
      return undefined;
    case 'CTX_TLBIALL':
      model.drop(() => true);
      rig.set(op.bank, regs.CTX_TLBIALL, 0);
      return undefined;
    case 'GLOBAL_TLBIALL':
      model.drop(() => true);
      rig.put(regs.GLOBAL_TLBIALL.offset, 0);
      return undefined;
    case 'probe': {
      const va = pageIn(op.slot, op.part);
      const key = model.key(op.slot, model.asids[op.bank] as number);
      const held = model.held.get(key);
      const place = held ?? model.mapped[op.slot];
      if (place !== undefined) model.held.set(key, place);
      const par = rig.probe(op.bank, va);
      const isSuper = SLOTS[op.slot]?.sizeBytes === 0x1000000;
      const target = place === undefined ? 0 : placeOf(op.slot, place) + (va - (SLOTS[op.slot]?.va ?? 0));
      const page = isSuper ? 0x1000000 : 0x1000;
      return {
        got: (par & 1) === 1 ? 0 : par - (par % page),
        want: target - (target % page),
        isStale: held !== undefined && held !== model.mapped[op.slot],
      };
    }
  }
}

describe('the TLB against its rules', () => {
  test('R15 R19 to R27: after any sequence of maps, accesses and invalidations the answers follow from the rules', () => {
    let stale = 0;
    let answers = 0;
    const rig = new Rig({ tlbEntries: 64, tlbWays: 16 });
    fc.assert(
      fc.property(fc.array(operation, { minLength: 40, maxLength: 120 }), (operations) => {
        rig.smmu.reset();
        SLOTS.forEach((_, index) => setDescriptors(rig, index, 0));
        for (const index of [0, 1]) rig.attach(index, { ttbr0: TABLE, asid: index + 1 });
        const model = new Model();
        const wrong: object[] = [];
        for (const op of operations) {
          const answer = apply(rig, model, op);
          if (answer === undefined) continue;
          answers++;
          if (answer.isStale) stale++;
          wrong.push(...(answer.got === answer.want ? [] : [{ op, ...answer }]));
        }
        expect(wrong).toEqual([]);
      }),
      { numRuns: 150, seed: 2010, unbiased: true },
    );
    expect(answers).toBeGreaterThan(1000);
    expect(stale / answers).toBeGreaterThan(0.05);
  }, 30_000);
});
