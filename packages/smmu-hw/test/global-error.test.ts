/** What is recorded of an access that cannot be routed or may not bypass: ESR, EAR, ESYNR, the line (open point 6). */
import { expect, test } from '@jest/globals';
import type { Readings } from '../src/index.ts';
import { underEveryReading } from './support/every-reading.ts';
import { TF } from './support/fault-bits.ts';
import { regs, type AccessSetup, type Rig } from './support/rig.ts';

const CFG = 0x1;
const BYPASS = 0x2;
const MULTI = 0x80000000;

/** One way to a global error. The access is of machine id 5, to `ADDRESS`. */
interface Way {
  readonly name: string;
  readonly esr: number;
  /** VMID and NSCFG of the stream: what ESYNR shows of them. */
  readonly vmid: number;
  readonly prepare: (rig: Rig) => void;
  readonly isError: (readings: Readings) => boolean;
}

const ADDRESS = 0x40200010;

const WAYS: readonly Way[] = [
  {
    name: 'a machine id without entry',
    esr: CFG,
    vmid: 0,
    prepare: () => {},
    isError: (readings) => readings.unroutedAccess === 'global-error',
  },
  {
    name: 'a bank that does not exist',
    esr: CFG,
    vmid: 7,
    prepare: (rig) => rig.streamEntry(5, { CBNDX: 3, VMID: 7 }),
    isError: (readings) => readings.unroutedAccess === 'global-error',
  },
  {
    name: 'BYPASSD=1',
    esr: BYPASS,
    vmid: 9,
    prepare: (rig) => rig.streamEntry(5, { BYPASSD: 1, VMID: 9 }),
    isError: (readings) => readings.bypassDisable === 'global-error',
  },
  {
    name: 'a VMID that is not the bank’s',
    esr: CFG,
    vmid: 0x1f,
    prepare: (rig) => {
      rig.attach(0);
      rig.first(ADDRESS, 0x40230c06);
      rig.streamEntry(5, { VMID: 0x1f });
    },
    isError: (readings) => readings.vmidMismatch === 'global-error',
  },
];

underEveryReading((make, readings) => {
  for (const way of WAYS) {
    const isError = way.isError(readings);
    const prepared = (): Rig => {
      const rig = make({ streams: way.name === 'a machine id without entry' ? 5 : 6 });
      way.prepare(rig);
      return rig;
    };

    test(`open point 6: ${way.name} is ${isError ? 'recorded in ESR, EAR, ESYNR0 and ESYNR1' : 'no error'}`, () => {
      const rig = prepared();
      expect(rig.addressOf(5, ADDRESS)).toBe(isError ? 'faulted' : ADDRESS);
      expect(globals(rig)).toEqual(isError ? [way.esr, ADDRESS, 5 | (way.vmid << 16), 0x40] : [0, 0, 0, 0]);
      expect([0, 1, 2].map((bank) => rig.get(bank, regs.FSR))).toEqual([0, 0, 0]);
    });

    test(`open point 6: ESYNR1 of ${way.name} shows what the master drives`, () => {
      const rig = prepared();
      for (const [setup, syndrome] of [
        [{}, 0x40],
        [{ isPrivileged: true }, 0x60],
        [{ isInstruction: true }, 0xc0],
        [{ isWrite: true }, 0x140],
        [{ isSecure: true }, 0x00],
        [{ isSecure: true, isPrivileged: true, isWrite: true }, 0x120],
      ] satisfies [AccessSetup, number][]) {
        rig.put(regs.ESR.offset, 0xffffffff);
        rig.translate(5, ADDRESS, setup);
        expect([setup, rig.at(regs.ESYNR1.offset)]).toEqual([setup, isError ? syndrome : 0]);
      }
    });

    test(`open point 6: after ${way.name} a second error adds MULTI; once cleared, the next counts as a first`, () => {
      const rig = prepared();
      rig.translate(5, ADDRESS);
      const first = globals(rig);
      rig.translate(5, ADDRESS + 0x100, { isWrite: true });
      expect(globals(rig)).toEqual(isError ? [(way.esr | MULTI) >>> 0, ...first.slice(1)] : first);
      rig.put(regs.ESR.offset, rig.at(regs.ESR.offset));
      expect(rig.at(regs.ESR.offset)).toBe(0);
      rig.translate(5, ADDRESS + 0x200, { isWrite: true });
      expect(globals(rig)).toEqual(
        isError ? [way.esr, ADDRESS + 0x200, 5 | (way.vmid << 16), 0x140] : [0, 0, 0, 0],
      );
    });

    test(`open point 6: ${way.name} is a bus error to the master, CFERE or not, and never stalls`, () => {
      const rig = prepared();
      for (const actlr of [0x00007000, 0x00007001]) {
        rig.set(0, regs.ACTLR, actlr);
        rig.word(ADDRESS, 0x0bad);
        expect(rig.load(5, ADDRESS)).toBe(isError ? undefined : 0x0bad);
        expect(rig.store(5, ADDRESS, 1).state).toBe(isError ? 'faulted' : 'done');
        expect(rig.peek(ADDRESS)).toBe(isError ? 0x0bad : 1);
      }
    });
  }

  test('open point 6: a global error after a fault that was terminated silently is a bus error all the same', () => {
    const rig = make({ streams: 16 });
    rig.route(0, 0);
    rig.attach(0);
    expect(rig.load(0, 0x00100000)).toBe(readings.terminatedAccess === 'by-cfere' ? 0 : undefined);
    globalError(rig, readings);
    expect(rig.load(6, 0x40000000)).toBeUndefined();
  });

  test('open point 6: the line of global errors, if there is one, is high while ESR is not 0', () => {
    const rig = make({ streams: 16 });
    const way = lineOf(readings);
    const lines = (): readonly boolean[] => [rig.secureLine.isHigh, rig.nonSecureLine.isHigh];
    expect(lines()).toEqual([false, false]);
    globalError(rig, readings);
    expect(lines()).toEqual(way);
    rig.put(regs.ESR.offset, 0x80000000);
    expect(lines()).toEqual(way);
    rig.put(regs.ESR.offset, 0xffffffff);
    expect(lines()).toEqual([false, false]);
    globalError(rig, readings);
    rig.put(regs.ESRRESTORE.offset, 0);
    expect(lines()).toEqual([false, false]);
    rig.put(regs.ESRRESTORE.offset, 1);
    expect(lines()).toEqual(readings.statusRestore === 'loads' ? way : [false, false]);
  });

  test('open point 6: a bank’s fault and a global error share a line, which is low when both are cleared', () => {
    const rig = make({ streams: 16 });
    const index = readings.globalErrorLine === 'non-secure' ? 1 : 0;
    const line = index === 1 ? rig.nonSecureLine : rig.secureLine;
    rig.route(0, 0);
    rig.attach(0, { cbacr: index << 24 });
    expect(rig.translate(0, 0x00100000)).toBe('faulted');
    expect(rig.get(0, regs.FSR)).toBe(TF);
    globalError(rig, readings);
    expect(line.isHigh).toBe(true);
    rig.set(0, regs.FSR, 0xffffffff);
    expect(line.isHigh).toBe(readings.globalErrorLine !== 'none');
    rig.put(regs.ESR.offset, 0xffffffff);
    expect(line.isHigh).toBe(false);
  });
});

function globals(rig: Rig): number[] {
  return [regs.ESR, regs.EAR, regs.ESYNR0, regs.ESYNR1].map((register) => rig.at(register.offset));
}

/** An error that every reading but one has; that one has another. Leaves ESR not 0. */
function globalError(rig: Rig, readings: Readings): void {
  rig.streamEntry(6, { CBNDX: readings.unroutedAccess === 'global-error' ? 3 : 1, BYPASSD: 1 });
  expect(rig.translate(6, 0x40000000)).toBe('faulted');
  expect(rig.at(regs.ESR.offset)).not.toBe(0);
}

/** Levels of the secure and the non-secure line while there is a global error. */
function lineOf(readings: Readings): readonly [boolean, boolean] {
  return [readings.globalErrorLine === 'secure', readings.globalErrorLine === 'non-secure'];
}
