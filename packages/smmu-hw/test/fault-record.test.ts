import { describe, expect, test } from '@jest/globals';
import { isLabError, type LabEvent } from '@iommu-lab/machine';
import { underEveryReading } from './support/every-reading.ts';
import { AFF, APF, HTWDEEF, HTWSEEF, MULTI, SL, TF, TLBMF } from './support/fault-bits.ts';
import { ACTLR_NO_STALL, Rig, SECOND, regs } from './support/rig.ts';
import { GLOBAL_SECTION, PAGE, READ_ONLY_PAGE, SECTION, TERMINATE } from './support/tlb-pins.ts';

/** FSYNR1. */
const PRIVILEGED = 1 << 5;
const NON_SECURE = 1 << 6;
const INSTRUCTION = 1 << 7;
const WRITE = 1 << 8;

const RECORD = [regs.FSR, regs.FAR, regs.FSYNR0, regs.FSYNR1];

describe('fault records', () => {
  underEveryReading((make, readings) => {
    const keepsFirst = readings.furtherFault === 'first-kept';

    /** Machine ids 0 and 6 use bank 1; nothing is mapped. */
    function attached(setup: { actlr?: number; sctlr?: number; cbacr?: number } = {}): Rig {
      const rig = make();
      for (const mid of [0, 6]) rig.route(mid, 1);
      rig.attach(1, { actlr: TERMINATE, ...setup });
      return rig;
    }

    function record(rig: Rig, bank = 1): number[] {
      return RECORD.map((register) => rig.get(bank, register));
    }

    test('R44 FSR has the cause, FAR the address, FSYNR0 the machine id, FSYNR1 the direction', () => {
      const rig = attached();
      rig.store(6, 0x12345678, 1);
      expect(record(rig)).toEqual([TF, 0x12345678, 6, NON_SECURE | WRITE]);
      rig.set(1, regs.FSR, TF);
      rig.second(0x00100000, 0);
      rig.load(0, 0x00100abc);
      expect(record(rig)).toEqual([TF | SL, 0x00100abc, 0, NON_SECURE]);
    });

    test('R44 FSYNR1 has privilege, fetch and security as the access goes out', () => {
      const rig = attached();
      const fault = (mid: number, options: object): number => {
        rig.master(mid, options).read(0x7f000000, new Uint8Array(1));
        const syndrome = rig.get(1, regs.FSYNR1);
        rig.set(1, regs.FSR, 0xffffffff);
        return syndrome;
      };
      expect(fault(0, { isPrivileged: true })).toBe(PRIVILEGED | NON_SECURE);
      expect(fault(0, { isInstruction: true, isSecure: true })).toBe(INSTRUCTION | NON_SECURE);
      rig.streamEntry(0, { CBNDX: 1, NSCFG: 0 });
      expect(fault(0, { isSecure: true })).toBe(0);
      expect(fault(0, {})).toBe(NON_SECURE);
      rig.streamEntry(0, { CBNDX: 1, NSCFG: 2 });
      expect(fault(0, { isPrivileged: true })).toBe(PRIVILEGED);
    });

    test('R44 each cause has its bit, and SL says that the second level was at fault', () => {
      const rig = attached({ sctlr: 7 });
      rig.first(0x00200000, 0x41000000 | (SECTION | 0x8000));
      rig.first(0x00300000, 0x41000000 | (SECTION & ~0x400));
      rig.first(0x00400000, 0x70000000 | 1);
      rig.first(0x00500000, (SECOND + 0x400) | 1);
      rig.refused.add(SECOND + 0x400);
      rig.second(0x00100000, 0x41000000 | READ_ONLY_PAGE);
      rig.second(0x00101000, 0x41000000 | (PAGE & ~0x10));
      const cause = (va: number): number => {
        expect(rig.store(0, va, 1).state).toBe('faulted');
        const status = rig.get(1, regs.FSR);
        expect(rig.get(1, regs.FAR)).toBe(va);
        rig.set(1, regs.FSR, status);
        return status;
      };
      expect(cause(0x00800000)).toBe(TF);
      expect(cause(0x00102000)).toBe(TF | SL);
      expect(cause(0x00200010)).toBe(APF);
      expect(cause(0x00100010)).toBe(APF | SL);
      expect(cause(0x00300000)).toBe(AFF);
      expect(cause(0x00101000)).toBe(AFF | SL);
      expect(cause(0x00400000)).toBe(HTWDEEF | SL);
      expect(cause(0x00500000)).toBe(HTWSEEF | SL);
      rig.set(1, regs.TTBR0, 0x70000000);
      expect(cause(0x00900000)).toBe(HTWDEEF);
      rig.set(1, regs.ACTLR, TERMINATE & ~0x3000);
      expect(cause(0x00a00000)).toBe(TLBMF);
    });

    test('R44 a transfer faults at the page it reached, and what came before is done', () => {
      const rig = attached();
      rig.second(0x00100000, 0x41000000 | PAGE);
      const transfer = rig.master(0).write(0x00100ff0, new Uint8Array(64).fill(7));
      expect([transfer.state, transfer.doneBytes]).toEqual(['faulted', 16]);
      expect(rig.peek(0x41000ffc)).toBe(0x07070707);
      expect(rig.get(1, regs.FAR)).toBe(0x00101000);
    });

    test('R44 an access that is translated, and one that memory does not answer, record nothing', () => {
      const rig = attached();
      rig.first(0x00100000, 0x41000000 | SECTION);
      rig.first(0x00200000, 0x70000000 | SECTION);
      expect(rig.store(0, 0x00100000, 1).state).toBe('done');
      expect(rig.store(0, 0x00200000, 1).state).toBe('faulted');
      expect(record(rig)).toEqual([0, 0, 0, 0]);
    });

    test('R44 FAR holds the low 32 bits of the address, AMID the low 8 of the machine id', () => {
      const rig = make({ streams: 512 });
      rig.attach(1, { actlr: TERMINATE });
      rig.route(0x123, 1);
      rig.load(0x123, 0x300001abc);
      expect(record(rig)).toEqual([TF, 0x00001abc, 0x23, NON_SECURE]);
    });

    test('R45 a further fault sets MULTI; whose record stays is the reading', () => {
      const rig = attached();
      rig.second(0x00100000, 0x41000000 | READ_ONLY_PAGE);
      rig.load(0, 0x7f000000);
      rig.store(6, 0x00100010, 1);
      expect(record(rig)).toEqual(
        keepsFirst
          ? [(MULTI | TF) >>> 0, 0x7f000000, 0, NON_SECURE]
          : [(MULTI | TF | APF | SL) >>> 0, 0x00100010, 6, NON_SECURE | WRITE],
      );
      rig.load(0, 0x7e000000);
      expect(rig.get(1, regs.FSR) >>> 0).toBe((keepsFirst ? MULTI | TF : MULTI | TF | APF | SL) >>> 0);
      expect(rig.get(1, regs.FAR)).toBe(keepsFirst ? 0x7f000000 : 0x7e000000);
    });

    test('R45 any bit left in FSR makes the next fault a further one; after clearing all it is a first one', () => {
      const rig = attached();
      rig.load(0, 0x7f000000);
      rig.load(0, 0x7f000000);
      rig.set(1, regs.FSR, TF);
      expect(rig.get(1, regs.FSR)).toBe(MULTI);
      rig.load(6, 0x7e000000);
      expect(rig.get(1, regs.FSR)).toBe((keepsFirst ? MULTI : MULTI | TF) >>> 0);
      expect(rig.get(1, regs.FSYNR0)).toBe(keepsFirst ? 0 : 6);
      rig.set(1, regs.FSR, 0xffffffff);
      rig.load(6, 0x7d000000);
      expect(record(rig)).toEqual([TF, 0x7d000000, 6, NON_SECURE]);
    });

    test('R45 a fault after FSRRESTORE cleared the status is a first one', () => {
      const rig = attached();
      rig.store(6, 0x7f000000, 1);
      rig.set(1, regs.FSRRESTORE, 0);
      rig.load(0, 0x7e000000);
      expect(record(rig)).toEqual([TF, 0x7e000000, 0, NON_SECURE]);
    });

    test('R53 banks record independently of each other', () => {
      const rig = make();
      for (const bank of [0, 1, 2]) {
        rig.route(bank, bank);
        rig.attach(bank, { actlr: TERMINATE });
      }
      rig.load(0, 0x7f000000);
      rig.store(2, 0x7e000000, 1);
      expect(record(rig, 0)).toEqual([TF, 0x7f000000, 0, NON_SECURE]);
      expect(record(rig, 1)).toEqual([0, 0, 0, 0]);
      expect(record(rig, 2)).toEqual([TF, 0x7e000000, 2, NON_SECURE | WRITE]);
      rig.set(0, regs.FSR, TF);
      expect([0, 1, 2].map((bank) => rig.get(bank, regs.FSR))).toEqual([0, 0, TF]);
    });

    test('ACTLR.CFERE what a master sees of an access that is terminated at once', () => {
      for (const cfere of [0, 1]) {
        const isIgnored = readings.terminatedAccess === 'by-cfere' && cfere === 0;
        const rig = attached({ actlr: ACTLR_NO_STALL | cfere });
        rig.second(0x00101000, 0x41000000 | PAGE);
        rig.word(0x41000000, 0x11223344);
        const bytes = new Uint8Array(8).fill(0xff);
        const read = rig.master(0).read(0x00100ffc, bytes);
        const write = rig.master(0).write(0x00100ffc, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
        expect([read.state, write.state]).toEqual(isIgnored ? ['done', 'done'] : ['faulted', 'faulted']);
        expect([...bytes]).toEqual(isIgnored ? [0, 0, 0, 0, 0x44, 0x33, 0x22, 0x11] : Array(8).fill(0xff));
        expect(rig.peek(0x41000000)).toBe(isIgnored ? 0x08070605 : 0x11223344);
        expect(rig.get(1, regs.FSR)).toBe((MULTI | TF | SL) >>> 0);
        expect(rig.translate(0, 0x00100ffc)).toBe('faulted');
      }
    });

    test('R55 registers behind a stopped clock are not reached: the bus says so', () => {
      const rig = attached();
      rig.isClocked = false;
      let error: unknown;
      try {
        rig.get(1, regs.FSR);
      } catch (thrown) {
        error = thrown;
      }
      expect(isLabError(error, 'EIO')).toBe(true);
    });
  });

  test('faults are events with the same facts', () => {
    const rig = new Rig();
    const events: LabEvent[] = [];
    rig.world.events.subscribe((event) => events.push(event));
    rig.route(6, 1);
    rig.attach(1);
    rig.first(0x00100000, 0x41000000 | GLOBAL_SECTION);
    rig.store(6, 0x00100000, 1);
    rig.store(6, 0x12345678, 1);
    expect(events).toHaveLength(1);
    expect(events[0]).toMatchObject({
      name: 'smmu:context_fault',
      fields: { iommu: 'jpegd', bank: 1, sid: 6, iova: '0x12345678', access: 'write', fsr: '0x00000002' },
    });
  });
});
