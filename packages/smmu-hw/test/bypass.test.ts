/** Accesses that pass untranslated, and what decides that (R32, open points 2 and 6). */
import { expect, test } from '@jest/globals';
import { iova } from '@iommu-lab/machine';
import { underEveryReading } from './support/every-reading.ts';
import { regs, type Rig } from './support/rig.ts';

/** Where the data of these tests stands; no table maps it. */
const DATA = 0x40200000;
const CLIENTPD = 0x10;

underEveryReading((make, readings) => {
  const driven = readings.bypassMemory;

  test('R32 with M=0 an access passes untranslated, reads and writes', () => {
    const rig = make();
    rig.route(0, 2);
    rig.word(DATA, 0x600d);
    expect(rig.addressOf(0, DATA)).toBe(DATA);
    expect(rig.load(0, DATA)).toBe(0x600d);
    expect(rig.store(0, DATA + 4, 0x1234).state).toBe('done');
    expect(rig.peek(DATA + 4)).toBe(0x1234);
  });

  test('R32 a bypassing access to where nothing is ends as a bus error, and nothing is recorded', () => {
    const rig = make();
    rig.route(0, 2);
    expect(rig.load(0, 0x90000000)).toBeUndefined();
    expect([0, 1, 2].map((bank) => rig.get(bank, regs.FSR))).toEqual([0, 0, 0]);
    expect(rig.at(regs.ESR.offset)).toBe(0);
  });

  test('R32 M decides: the same access is translated with M=1 and passes with M=0', () => {
    const rig = make();
    rig.route(0, 0);
    rig.attach(0);
    rig.first(0x40200000, 0x41130c06);
    expect(rig.addressOf(0, DATA)).toBe(0x41100000);
    rig.set(0, regs.SCTLR, 0x2);
    expect(rig.addressOf(0, DATA)).toBe(DATA);
  });

  test('R32 while BPMTCFG is 0 a bypassing access counts as cacheable (or not, if so read) and non-shareable', () => {
    const rig = make();
    rig.streamEntry(0, { BPRCNSH: 1, NSCFG: 3 });
    rig.translate(0, DATA);
    expect(rig.translated()).toEqual({
      address: DATA,
      memoryType: driven,
      shareability: 'none',
      isSnooped: driven === 'cacheable',
      isNonSecure: true,
    });
  });

  test('R32 BPMTCFG=1 takes the memory type from BPMEMTYPE, whatever BPMTCFG=0 would mean', () => {
    const rig = make();
    const types = [0, 1, 3, 5, 6, 7].map((type) => {
      rig.streamEntry(0, { BPMTCFG: 1, BPMEMTYPE: type, BPRCNSH: 1 });
      rig.translate(0, DATA);
      return [rig.translated().memoryType, rig.translated().isSnooped];
    });
    expect(types).toEqual([
      ['non-cacheable', false],
      ['strongly-ordered', false],
      ['device', false],
      ['cacheable', true],
      ['cacheable', true],
      ['cacheable', true],
    ]);
    rig.streamEntry(0, { BPMTCFG: 0, BPMEMTYPE: 1 });
    rig.translate(0, DATA);
    expect(rig.translated().memoryType).toBe(driven);
  });

  test('R32 BPSHCFG makes it outer (1), inner (2) or not shareable (3, 0); the BPRCxSH bit of that kind redirects it', () => {
    const rig = make();
    for (const [code, shareability, redirect] of [
      [0, 'none', 'BPRCNSH'],
      [1, 'outer', 'BPRCOSH'],
      [2, 'inner', 'BPRCISH'],
      [3, 'none', 'BPRCNSH'],
    ] as const) {
      for (const name of ['BPRCNSH', 'BPRCOSH', 'BPRCISH'] as const) {
        rig.streamEntry(0, { BPSHCFG: code, [name]: 1, BPMTCFG: 1, BPMEMTYPE: 5 });
        rig.translate(0, DATA);
        const { shareability: seen, isSnooped } = rig.translated();
        expect([code, name, seen, isSnooped]).toEqual([code, name, shareability, name === redirect]);
      }
    }
  });

  test('R32 a redirected access sees what stands in the CPU’s cache only, another one does not', () => {
    const rig = make();
    rig.word(DATA, 0x01d);
    rig.cacheWord(DATA, 0xd1);
    rig.streamEntry(0, { BPRCNSH: 1 });
    expect(rig.load(0, DATA)).toBe(driven === 'cacheable' ? 0xd1 : 0x01d);
    rig.streamEntry(0, { BPRCNSH: 1, BPMTCFG: 1, BPMEMTYPE: 5 });
    expect(rig.load(0, DATA)).toBe(0xd1);
    rig.streamEntry(0, { BPMTCFG: 1, BPMEMTYPE: 5 });
    expect(rig.load(0, DATA)).toBe(0x01d);
  });

  test('open point 2: BYPASSD=1 makes what would bypass ESR.BYPASS, or nothing if so read', () => {
    const rig = make();
    rig.streamEntry(0, { BYPASSD: 1 });
    const isError = readings.bypassDisable === 'global-error';
    expect(rig.addressOf(0, DATA)).toBe(isError ? 'faulted' : DATA);
    expect(rig.at(regs.ESR.offset)).toBe(isError ? 2 : 0);
    expect(rig.load(0, DATA)).toBe(isError ? undefined : 0);
  });

  test('open point 2: BYPASSD=1 does not matter to an access that is translated', () => {
    const rig = make();
    rig.attach(0);
    rig.first(0x00100000, 0x41130c06);
    rig.streamEntry(0, { BYPASSD: 1 });
    expect(rig.addressOf(0, 0x00100000)).toBe(0x41100000);
    expect(rig.at(regs.ESR.offset)).toBe(0);
  });

  test('open point 2: CR.CLIENTPD=1 makes every access bypass, or nothing if so read', () => {
    const rig = make();
    mapped(rig);
    const bypasses = readings.clientPortDisable === 'bypass';
    expect(rig.addressOf(0, DATA)).toBe(0x41100000);
    rig.put(regs.CR.offset, CLIENTPD);
    expect(rig.addressOf(0, DATA)).toBe(bypasses ? DATA : 0x41100000);
    expect(rig.addressOf(0, DATA + 0x100000)).toBe(bypasses ? DATA + 0x100000 : 'faulted');
    expect(rig.get(0, regs.FSR)).toBe(bypasses ? 0 : 2);
    rig.put(regs.CR.offset, 0);
    expect(rig.addressOf(0, DATA)).toBe(0x41100000);
  });

  test('open point 2: with CR.CLIENTPD=1 an access bypasses with the attributes of its stream', () => {
    const rig = make();
    mapped(rig);
    rig.streamEntry(0, { BPMTCFG: 1, BPMEMTYPE: 3 });
    rig.put(regs.CR.offset, CLIENTPD);
    rig.translate(0, DATA);
    expect(rig.translated().memoryType).toBe(
      readings.clientPortDisable === 'bypass' ? 'device' : 'non-cacheable',
    );
  });

  test('open point 2: with CR.CLIENTPD=1 observers find no TLB entry that translates, though the TLB keeps it', () => {
    const rig = make();
    mapped(rig);
    rig.translate(0, DATA);
    const found = (): number | undefined => rig.smmu.probeTlb(0, iova(DATA))?.address;
    rig.put(regs.CR.offset, CLIENTPD);
    expect(found()).toBe(readings.clientPortDisable === 'bypass' ? undefined : 0x41100000);
    rig.put(regs.CR.offset, 0);
    expect(found()).toBe(0x41100000);
  });

  test('open point 2: with CR.CLIENTPD=1 V2P still answers from the tables', () => {
    const rig = make();
    mapped(rig);
    rig.put(regs.CR.offset, CLIENTPD);
    expect(rig.probe(0, DATA) & 0xfffff001).toBe(0x41100000);
  });

  test('open point 6: a machine id without entry and a bank that does not exist are ESR.CFG, or pass untranslated', () => {
    const passes = readings.unroutedAccess === 'bypass';
    for (const [mid, bank] of [
      [16, 0],
      [511, 0],
      [5, 3],
      [5, 255],
    ] as const) {
      const rig = make({ streams: 16 });
      rig.streamEntry(5, { CBNDX: bank });
      rig.word(DATA, 0x600d);
      expect([mid, bank, rig.addressOf(mid, DATA)]).toEqual([mid, bank, passes ? DATA : 'faulted']);
      expect(rig.at(regs.ESR.offset)).toBe(passes ? 0 : 1);
      expect(rig.load(mid, DATA)).toBe(passes ? 0x600d : undefined);
    }
  });

  test('open point 6: what is not routed bypasses with CR.CLIENTPD=1, whatever it does else', () => {
    const rig = make({ streams: 16 });
    rig.put(regs.CR.offset, CLIENTPD);
    const passes = readings.clientPortDisable === 'bypass' || readings.unroutedAccess === 'bypass';
    expect(rig.addressOf(16, DATA)).toBe(passes ? DATA : 'faulted');
  });
});

/** Machine id 0 goes through bank 0, where `DATA` is a section at 0x41100000 (class 1, non-cacheable). */
function mapped(rig: Rig): void {
  rig.route(0, 0);
  rig.attach(0);
  rig.first(DATA, 0x41130c06);
}
