import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { extract, maskOf, type Field, type Register } from '@iommu-lab/machine';
import { OPEN_POINTS } from '../src/index.ts';
import { underEveryReading } from './support/every-reading.ts';
import { SCOPES, registerReference, splitDoc } from './support/register-reference.ts';
import { Rig, SECOND, TABLE, regs } from './support/rig.ts';
import { PAGE, SECTION, STALL, TERMINATE } from './support/tlb-pins.ts';

const REGISTERS: readonly Register[] = SCOPES.flatMap(({ registers }) => registers);
/** A table for TTBR1. */
const UPPER_TABLE = 0x40020000;

function fieldsOf(register: Register): readonly (readonly [string, Field])[] {
  return Object.entries<Field>(register.fields);
}

function bitsOf(fields: readonly (readonly [string, Field])[]): number {
  return fields.reduce((mask, [, field]) => (mask | maskOf(field)) >>> 0, 0);
}

/** Bits of a register that have a field; all of one that has none. */
function implementedBits(register: Register): number {
  return fieldsOf(register).length === 0 ? 0xffffffff : bitsOf(fieldsOf(register));
}

/** Bits that, their docs say, keep what is written and have no effect. */
function storedOnlyBits(register: Register): number {
  const fields = fieldsOf(register);
  if (fields.length === 0) return register.doc.includes('no effect here') ? 0xffffffff : 0;
  return bitsOf(fields.filter(([, field]) => field.doc.includes('no effect here')));
}

/** Offset of one of the register's kind: of bank 1, or of machine id 1. */
function offsetOf(register: Register): number {
  if (register === regs.M2VCBR) return regs.m2vcbrOffset(1);
  if (register === regs.CBACR) return regs.cbacrOffset(1);
  return register.offset < regs.BANK_BYTES ? regs.contextOffset(1, register) : register.offset;
}

/** Every register of an instance with 3 banks, with its offset. */
function everyRegister(streams: number): readonly (readonly [number, Register])[] {
  const banks = [0, 1, 2];
  return [
    ...banks.flatMap((bank) => regs.CONTEXT_REGISTERS.map((r) => [regs.contextOffset(bank, r), r] as const)),
    ...banks.map((bank) => [regs.cbacrOffset(bank), regs.CBACR] as const),
    ...Array.from({ length: streams }, (_, mid) => [regs.m2vcbrOffset(mid), regs.M2VCBR] as const),
    ...regs.GLOBAL_REGISTERS.map((r) => [r.offset, r] as const),
  ];
}

describe('REGISTERS.md', () => {
  test('is current (pnpm --filter @iommu-lab/smmu-hw registers)', () => {
    expect(readFileSync(new URL('../REGISTERS.md', import.meta.url), 'utf8')).toBe(registerReference());
  });

  test('every register and every field says what it means and what that rests on', () => {
    for (const { doc } of [
      ...REGISTERS,
      ...REGISTERS.flatMap((r) => fieldsOf(r).map(([, field]) => field)),
    ]) {
      const { meaning, evidence } = splitDoc(doc);
      expect(meaning).toMatch(/^\w.*\.$/);
      expect(evidence.length).toBeGreaterThan(0);
    }
  });

  test.each(['Unknown.', 'Unknown. []', 'Unknown. [H D]', 'Unknown. [X]', '[H]'])(
    'a doc string without proper evidence has no place in it: %s',
    (doc) => {
      expect(() => splitDoc(doc)).toThrow('evidence');
    },
  );

  test('every open point that a row names is one', () => {
    const docs = REGISTERS.flatMap((r) => [r.doc, ...fieldsOf(r).map(([, field]) => field.doc)]);
    const named = docs.flatMap((doc) => /open points?: ([^)]+)\)/.exec(doc)?.[1]?.split(', ') ?? []);
    expect(named.length).toBeGreaterThan(20);
    expect(named.filter((name) => !Object.hasOwn(OPEN_POINTS, name))).toEqual([]);
  });

  test('no two fields share a bit, but for the two layouts of PAR', () => {
    for (const register of REGISTERS) {
      const layouts = register === regs.PAR ? ['FAULT=1', 'FAULT=0'] : [''];
      for (const layout of layouts) {
        const fields = fieldsOf(register).filter(([, { doc }]) => doc.includes(layout));
        const width = fields.reduce((sum, [, field]) => sum + field.width, 0);
        const set = bitsOf(fields).toString(2).replaceAll('0', '').length;
        expect([register.name, width]).toEqual([register.name, set]);
      }
    }
  });
});

describe('what REGISTERS.md says of every register', () => {
  test('at power-on it has its reset value, and REV and IDR what the configuration says', () => {
    const rig = new Rig({ revision: 0x21, streams: 16, tlbEntries: 48, tlbWays: 3 });
    for (const [offset, register] of everyRegister(16)) {
      if (register === regs.REV || register === regs.IDR) continue;
      expect([register.name, rig.at(offset)]).toEqual([register.name, register.reset]);
    }
    expect(rig.at(regs.REV.offset)).toBe(0x21);
    // 2 interrupts, 3 banks, 48 TLB entries (log2, rounded down), walker, 16 entries of M2VCBR.
    expect(rig.at(regs.IDR.offset)).toBe(0x02025210);
    expect(new Rig({ streams: 512 }).at(regs.IDR.offset) & 0x1ff).toBe(511);
  });

  test('a written value is taken modulo 2^32; reserved bits read 0', () => {
    for (const register of REGISTERS) {
      const { smmu } = new Rig();
      smmu.write32(regs.CR.offset, 0x40); // opens TLBLCKR
      const offset = offsetOf(register);
      const before = smmu.read32(offset);
      for (const value of [0xffffffff, -1, 2 ** 32 + 0xa5a5a5a5, 0x5a5a5a5a]) {
        smmu.write32(offset, value);
        const kept = register.access === 'rw' ? (value & implementedBits(register)) >>> 0 : before;
        expect([register.name, smmu.read32(offset)]).toEqual([register.name, kept]);
      }
    }
  });

  test.each([
    [regs.FSR, regs.FSRRESTORE],
    [regs.ESR, regs.ESRRESTORE],
  ])('likewise a status register, and the register that loads it', (status, restore) => {
    const { smmu } = new Rig();
    smmu.write32(offsetOf(restore), 2 ** 32 - 1);
    expect(smmu.read32(offsetOf(status))).toBe(implementedBits(status));
    smmu.write32(offsetOf(status), -(2 ** 32) + 1); // 1 modulo 2^32: FSR has no bit 0
    expect(smmu.read32(offsetOf(status))).toBe((implementedBits(status) & ~1) >>> 0);
  });

  test('a record of a fault has what is said to be recorded, and 0 in the rest of the syndromes', () => {
    const rig = new Rig();
    const setup = { isWrite: true, isPrivileged: true, isInstruction: true };
    rig.route(5, 1, 3);
    rig.attach(1, { actlr: TERMINATE });
    rig.translate(5, 0x1000, setup);
    rig.route(5, 9, 3);
    rig.translate(5, 0x1000, setup);
    for (const register of [regs.FSYNR0, regs.FSYNR1, regs.ESYNR0, regs.ESYNR1]) {
      const word = rig.at(offsetOf(register));
      for (const [name, field] of fieldsOf(register)) {
        const isRecorded = field.doc.startsWith('Recorded: ');
        expect([register.name, name, extract(word, field) !== 0]).toEqual([register.name, name, isRecorded]);
      }
    }
  });
});

describe('an access that is not a register', () => {
  const streams = 16;
  const offsets = new Set(everyRegister(streams).map(([offset]) => offset));

  /** An instance at work, and a look at everything it has. */
  function busy(): Rig {
    const rig = new Rig({ streams });
    rig.route(1, 1);
    rig.attach(1, { actlr: TERMINATE });
    rig.first(0, 0x41000000 | SECTION);
    rig.load(1, 0x1000);
    rig.load(1, 0x200000);
    return rig;
  }

  function* around(): Generator<number> {
    for (let offset = 0; offset < regs.WINDOW_BYTES; offset += 4) if (!offsets.has(offset)) yield offset;
    for (const page of [0, 0x1000, 0x3000, 0xff000]) {
      for (let offset = page; offset < page + 0x1000; offset++) if (offset % 4 !== 0) yield offset;
    }
    for (let offset = 0; offset < 0x2000; offset += 4) {
      yield offset - 0x2000;
      yield regs.WINDOW_BYTES + offset;
      yield 2 * regs.WINDOW_BYTES - 0x2000 + offset;
      yield 2 ** 32 + offset;
    }
  }

  test('reads 0 and ignores a write: no register there, unaligned, outside the window, a bank or entry that is not', () => {
    const rig = busy();
    const before = rig.smmu.snapshot();
    const answers = new Set<number>();
    for (const offset of around()) {
      rig.smmu.write32(offset, 0xffffffff);
      answers.add(rig.smmu.read32(offset));
    }
    expect([...answers]).toEqual([0]);
    expect(rig.smmu.snapshot()).toEqual(before);
  });
});

describe('a field with no effect here', () => {
  /** Puts ones, or zeros, into every such field of the instance. */
  function scribble(rig: Rig, ones: boolean): void {
    for (const [offset, register] of everyRegister(8)) {
      const bits = storedOnlyBits(register);
      if (bits !== 0) rig.put(offset, ones ? rig.at(offset) | bits : rig.at(offset) & ~bits);
    }
  }

  /** Something of everything; what came of it, but for these fields, as lines that can be compared. */
  function work(rig: Rig, ones: boolean): readonly string[] {
    const seen: string[] = [];
    const note = (...what: readonly unknown[]) => seen.push(JSON.stringify(what));
    const look = () => {
      rig.world.clock.run();
      for (const [offset, register] of everyRegister(8)) {
        note(register.name, offset, (rig.at(offset) & ~storedOnlyBits(register)) >>> 0);
      }
      for (const entry of rig.smmu.tlbEntries()) note(entry);
      note(rig.smmu.statistics, rig.secureLine.isHigh, rig.nonSecureLine.isHigh);
    };
    const use = (mid: number, va: number) => {
      for (const isWrite of [false, true]) {
        const status = rig.translate(mid, va, { isWrite });
        note(mid, va, status, status === 'done' ? rig.translated() : undefined);
      }
    };
    rig.put(regs.CR.offset, 0x40);
    [0, 0, 1, 2].forEach((bank, mid) => rig.route(mid, bank, bank));
    rig.streamEntry(4, { CBNDX: 2, BPRCNSH: 1, BPRCISH: 1, BPSHCFG: 2 });
    // Bank 0 splits its addresses, and its walks look into the cache; bank 1 stalls and fetches blocks.
    rig.attach(0, { actlr: TERMINATE, ttbcr: 1, ttbr0: TABLE | 0x42, ttbr1: UPPER_TABLE | 0x42 });
    rig.attach(1, { actlr: STALL, asid: 7, cbacr: 0x01010000 });
    rig.set(1, regs.BFBCR, 1);
    scribble(rig, ones);
    rig.first(0x00100000, SECOND | 1);
    for (let page = 0; page < 32; page++) {
      const cacheable = (page % 2) * 8; // C: the odd pages are of the write-back class
      rig.word(SECOND + page * 4, (0x41000000 + page * 0x1000) | PAGE | cacheable);
    }
    rig.first(0x80300000, 0x42000000 | SECTION, UPPER_TABLE);
    rig.cacheWord(TABLE + 0xc, 0x43000000 | SECTION);
    for (let page = 0; page < 32; page++) {
      use(0, 0x00100000 + page * 0x1000);
      if (page !== 26) use(2, 0x00100000 + (page ^ 5) * 0x1000); // not page 31
    }
    use(1, 0x80300000);
    use(1, 0x00300000);
    use(1, 0xff000000); // its walk finds nothing mapped, and the next one no memory
    rig.set(0, regs.TTBCR, 0);
    rig.set(0, regs.TTBR0, 0x10000000);
    use(1, 0x00700000);
    rig.set(0, regs.TTBR0, TABLE | 0x42);
    scribble(rig, ones);
    rig.second(0x00120000, 0x41200000 | PAGE); // a block that was fetched may still have the old word
    rig.second(0x0011f000, 0x41300000 | PAGE);
    rig.set(0, regs.TTBCR, 1);
    use(2, 0x0011f000);
    use(2, 0x00120000);
    look();
    // Locking, and what survives.
    rig.set(0, regs.TLBLCKR, 0x0203);
    scribble(rig, ones);
    note(rig.probe(0, 0x00104001), rig.probe(0, 0x90000000), rig.probe(1, 0x00105000, regs.V2PUW));
    rig.set(0, regs.CTX_TLBIALL, 0);
    for (let page = 0; page < 32; page++) use(0, 0x00100000 + page * 0x1000);
    rig.put(regs.TLBRSW.offset, 3);
    look();
    // Faults, global errors, bypass.
    use(0, 0x7000);
    use(2, 0x7000);
    use(3, 0x8000);
    use(4, 0x8000);
    use(9, 0x9000);
    look();
    rig.set(1, regs.RESUME, 1);
    rig.set(1, regs.FSR, 0xffffffff);
    rig.put(regs.GLOBAL_TLBIALL.offset, 0);
    use(0, 0x00101000);
    look();
    return seen;
  }

  underEveryReading((make) => {
    test('with ones in all of them, everything else is as with zeros', () => {
      const config = { streams: 8, tlbEntries: 16, tlbWays: 2, fetchBlocks: 2 };
      const zeros = work(make(config), false);
      expect(work(make(config), true).filter((line, index) => line !== zeros[index])).toEqual([]);
      expect(zeros.length).toBeGreaterThan(500);
    });
  });

  test('there are such fields, they read as written, and whole registers of them', () => {
    const rig = new Rig({ streams: 8 });
    rig.put(regs.CR.offset, 0x40);
    scribble(rig, true);
    const kept = everyRegister(8).filter(([offset, r]) => storedOnlyBits(r) !== 0 && rig.at(offset) !== 0);
    expect(new Set(kept.map(([, register]) => register.name))).toEqual(
      new Set(
        'ACTLR CONTEXTIDR TTBR0 TTBR1 TLBLCKR TLBFLPTER TLBSLPTER BFBCR CBACR TESTBUSCR CR RPU_ACR'.split(
          ' ',
        ),
      ),
    );
  });
});
