/**
 * Snapshot and restore, case by case; whole histories are in snapshot-property.test.ts. Long because each moment of a
 * stall is a case, and all share the way one instance is carried into another.
 */
import { describe, expect, test } from '@jest/globals';
import { isLabError, type BusAccess, type Transfer } from '@iommu-lab/machine';
import { OPEN_POINTS, type ReadingName } from '../src/readings.ts';
import type { MsmSmmuConfig, ParkedAccess, SmmuSnapshot } from '../src/index.ts';
import { underEveryReading } from './support/every-reading.ts';
import { stateOf } from './support/register-state.ts';
import { Rig, regs } from './support/rig.ts';
import { MAPPED, MISSING, STALLED_TF, TARGET, resume, stalling, statesOf } from './support/stalls.ts';
import { SECTION, STALL, lock } from './support/tlb-pins.ts';

/** Every access of the snapshot, whoever would have to issue it again. */
function nobody(parked: ParkedAccess): BusAccess {
  return { ...parked, data: new Uint8Array(parked.length), resume: () => {} };
}

/** Something in every corner of an instance: entries, one of them locked, a fault, a stall, counters, an error. */
function busy(config: Partial<MsmSmmuConfig> = {}): Rig {
  const rig = stalling((more) => new Rig({ ...config, ...more }));
  rig.load(0, MAPPED);
  rig.set(1, regs.TLBLCKR, 0);
  rig.put(regs.CR.offset, 0x40);
  lock(rig, 1, MAPPED, 5);
  rig.translate(99, 0);
  rig.load(4, MISSING);
  rig.load(5, MAPPED);
  return rig;
}

/** What `act` throws; undefined if it does not. */
function thrownBy(act: () => void): unknown {
  try {
    act();
    return undefined;
  } catch (error) {
    return error;
  }
}

/** Lets the rig try to take over a snapshot, and sees that it is EINVAL and that nothing has changed. */
function expectRefusal(
  rig: Rig,
  snapshot: SmmuSnapshot,
  reissue?: (parked: ParkedAccess) => BusAccess,
): unknown {
  const before = [rig.smmu.snapshot(), stateOf(rig), rig.secureLine.isHigh, rig.nonSecureLine.isHigh];
  const error = thrownBy(() => rig.smmu.restore(snapshot, reissue));
  expect([rig.smmu.snapshot(), stateOf(rig), rig.secureLine.isHigh, rig.nonSecureLine.isHigh]).toEqual(
    before,
  );
  return error;
}

describe('a snapshot', () => {
  test('is plain data: a text keeps all of it', () => {
    const snapshot = busy({ tlbReplacement: 'random', fetchBlocks: 2 }).smmu.snapshot();
    expect(JSON.parse(JSON.stringify(snapshot))).toEqual(snapshot);
  });

  test('is no view: what the instance does afterwards does not change it', () => {
    const rig = busy({ tlbReplacement: 'random' });
    const snapshot = rig.smmu.snapshot();
    const text = JSON.stringify(snapshot);
    rig.load(6, MISSING);
    rig.smmu.reset();
    rig.world.clock.run();
    expect(JSON.stringify(snapshot)).toBe(text);
    const other = new Rig({ tlbReplacement: 'random' });
    other.smmu.restore(snapshot, nobody);
    other.smmu.reset();
    expect(JSON.stringify(snapshot)).toBe(text);
  });

  test('taking one changes nothing', () => {
    const rig = busy();
    const events: string[] = [];
    rig.world.events.subscribe(({ name }) => events.push(name));
    const before = stateOf(rig);
    expect(rig.smmu.snapshot()).toEqual(rig.smmu.snapshot());
    expect(stateOf(rig)).toEqual(before);
    expect(events).toEqual([]);
  });

  test('R50 by who hears of a fault that stalls has its access, and the event says so', () => {
    const rig = stalling((config) => new Rig(config));
    const seen: unknown[] = [];
    rig.world.events.subscribe(({ name, fields }) => {
      if (name === 'smmu:context_fault') seen.push([fields['fsr'], rig.smmu.snapshot().banks[0]?.stall]);
    });
    rig.load(2, MISSING);
    const faulting: unknown = expect.objectContaining({ streamId: 2, address: MISSING });
    expect(seen).toEqual([['0x40000002', expect.objectContaining({ isBlocked: true, faulting })]]);
  });

  test('restores registers, routing, TLB, counters and lines', () => {
    const rig = busy();
    const next = new Rig();
    const events: string[] = [];
    next.world.events.subscribe(({ name }) => events.push(name));
    next.smmu.restore(rig.smmu.snapshot(), nobody);
    expect(stateOf(next)).toEqual(stateOf(rig));
    expect(next.smmu.tlbEntries()).toEqual(rig.smmu.tlbEntries());
    expect(next.smmu.statistics).toEqual(rig.smmu.statistics);
    expect([next.secureLine.isHigh, next.nonSecureLine.isHigh]).toEqual([true, false]);
    expect(next.smmu.snapshot()).toEqual(rig.smmu.snapshot());
    expect(events).toEqual([]);
  });

  test('lowers a line that the instance had high, and raises none for a status whose interrupt is off', () => {
    const rig = stalling((config) => new Rig(config), STALL & ~2);
    rig.load(0, MISSING);
    const next = busy();
    expect(next.secureLine.isHigh).toBe(true);
    next.smmu.restore(rig.smmu.snapshot(), nobody);
    expect([next.secureLine.isHigh, next.get(0, regs.FSR)]).toEqual([false, STALLED_TF]);
  });

  test('does not move a line that is as high before as after', () => {
    const rig = stalling((config) => new Rig(config), STALL & ~2);
    rig.load(0, MISSING);
    const next = stalling((config) => new Rig(config));
    const levels: boolean[] = [];
    next.secureLine.subscribe((isHigh) => levels.push(isHigh));
    next.smmu.restore(rig.smmu.snapshot(), nobody);
    expect([levels, next.secureLine.isHigh]).toEqual([[], false]);
  });

  test('does not care for the name of the instance, nor for its tracing', () => {
    const rig = busy();
    const next = new Rig({ name: 'rot', traceAccesses: true });
    next.smmu.restore(rig.smmu.snapshot(), nobody);
    expect(next.smmu.snapshot()).toEqual(rig.smmu.snapshot());
  });
});

describe('a snapshot of an instance of another shape is EINVAL and changes nothing', () => {
  const shapes: readonly Partial<MsmSmmuConfig>[] = [
    { contextBanks: 2 },
    { streams: 31 },
    { tlbEntries: 32 },
    { tlbWays: 8 },
    { tlbReplacement: 'random' },
    { fetchBlocks: 1 },
    { revision: 1 },
    ...(Object.keys(OPEN_POINTS) as ReadingName[]).flatMap((name) =>
      OPEN_POINTS[name].values.slice(1).map((value) => ({ readings: { [name]: value } })),
    ),
  ];

  test.each(shapes.map((shape) => [JSON.stringify(shape), shape] as const))('%s', (_, shape) => {
    const other = new Rig(shape).smmu.snapshot();
    const [difference] = Object.keys(shape.readings ?? shape);
    for (const [rig, snapshot] of [
      [busy(), other],
      [new Rig(shape), busy().smmu.snapshot()],
    ] as const) {
      const error = expectRefusal(rig, snapshot, nobody);
      expect(isLabError(error, 'EINVAL') && error.message).toMatch(new RegExp(`another ${difference}$`));
    }
  });
});

test('a snapshot of another format is EINVAL and changes nothing', () => {
  const snapshot = busy().smmu.snapshot();
  for (const format of [snapshot.format + 1, snapshot.format - 1, undefined as never]) {
    const error = expectRefusal(busy(), { ...snapshot, format }, nobody);
    expect([format, isLabError(error, 'EINVAL')]).toEqual([format, true]);
  }
});

describe('parked accesses', () => {
  /** A moment, by what led there: mid-stall, and the two in which an answer is on its way. */
  const MOMENTS: readonly (readonly [string, (rig: Rig) => void])[] = [
    ['mid-stall', () => {}],
    ['between RESUME and its effect', (rig) => rig.set(0, regs.RESUME, 0)],
    ['between a termination and its delivery', (rig) => rig.set(0, regs.SCTLR, 0)],
    ['after a reset, before its delivery', (rig) => rig.smmu.reset()],
  ];

  test.each(MOMENTS)('without anybody who issues them again: EINVAL, nothing changed, %s', (_, act) => {
    const rig = stalling((config) => new Rig(config));
    rig.load(0, MISSING);
    act(rig);
    const snapshot = rig.smmu.snapshot();
    const next = busy();
    const error = expectRefusal(next, snapshot);
    expect(isLabError(error, 'EINVAL') && error.details).toEqual({ masterName: 'mid0', streamId: 0 });
    // An instance that holds nothing needs nobody.
    rig.smmu.reset();
    rig.world.clock.run();
    next.smmu.restore(rig.smmu.snapshot());
    expect(next.smmu.snapshot()).toEqual(rig.smmu.snapshot());
  });

  test('an owner that cannot issue one again keeps everything as it is', () => {
    const next = busy();
    const error = expectRefusal(next, busy().smmu.snapshot(), (parked) => {
      if (parked.streamId === 5) throw new Error('lost');
      return nobody(parked);
    });
    expect(error).toEqual(new Error('lost'));
  });

  test('each is asked for once, as it was driven', () => {
    const rig = stalling((config) => new Rig(config));
    rig.master(0, { isPrivileged: true }).write(MISSING + 0xff8, new Uint8Array(16));
    rig.master(1).read(MAPPED - 8, new Uint8Array(16));
    rig.master(4, { isSecure: true, isInstruction: true }).read(MISSING, new Uint8Array(4));
    const asked: ParkedAccess[] = [];
    new Rig().smmu.restore(rig.smmu.snapshot(), (parked) => {
      asked.push(parked);
      return nobody(parked);
    });
    const plain = { isPrivileged: false, isInstruction: false, isSecure: false };
    expect(asked).toEqual([
      {
        masterName: 'mid0',
        streamId: 0,
        address: MISSING + 0xff8,
        isWrite: true,
        offset: 0,
        length: 8,
        attributes: { ...plain, isPrivileged: true },
      },
      {
        masterName: 'mid1',
        streamId: 1,
        address: MAPPED - 8,
        isWrite: false,
        offset: 0,
        length: 8,
        attributes: plain,
      },
      {
        masterName: 'mid4',
        streamId: 4,
        address: MISSING,
        isWrite: false,
        offset: 0,
        length: 4,
        attributes: { isPrivileged: false, isInstruction: true, isSecure: true },
      },
    ]);
  });

  test('accesses that the restoring instance held are forgotten, also those whose answer was on its way', () => {
    const next = stalling((config) => new Rig(config));
    const held = [0, 1, 4, 5].map((mid) => next.master(mid).read(MISSING, new Uint8Array(4)));
    next.set(0, regs.RESUME, 0);
    next.set(1, regs.SCTLR, 0);
    next.smmu.restore(new Rig().smmu.snapshot());
    next.world.clock.run();
    expect(statesOf(held)).toEqual(['pending', 'pending', 'pending', 'pending']);
    expect(next.smmu.snapshot()).toEqual(new Rig().smmu.snapshot());
  });
});

underEveryReading((make, readings) => {
  /** Three masters in bank 0 and two in bank 1, all held; the first of each bank faulted. */
  function held(): { rig: Rig; transfers: readonly Transfer[] } {
    const rig = stalling(make);
    const transfers = [0, 1, 2, 4, 5].map((mid) =>
      rig.master(mid).read(MISSING + 0x40 * mid, new Uint8Array(4).fill(0xee)),
    );
    expect(statesOf(transfers)).toEqual(transfers.map(() => 'pending'));
    return { rig, transfers };
  }

  /** Carries the rig over into a new one, transfers and all. */
  function carry({ rig, transfers }: { rig: Rig; transfers: readonly Transfer[] }) {
    const next = stalling(make);
    const { restored, order } = takeOver(next, rig, transfers);
    next.word(TARGET, 0x77);
    return { next, restored, order };
  }

  /** Restores into `next` what `rig` is, with new transfers for those that are held. */
  function takeOver(next: Rig, rig: Rig, transfers: readonly Transfer[]) {
    const restored: Transfer[] = [];
    const order: string[] = [];
    next.smmu.restore(JSON.parse(JSON.stringify(rig.smmu.snapshot())) as SmmuSnapshot, (parked) => {
      const at = [0, 1, 2, 4, 5].indexOf(parked.streamId);
      const bytes = new Uint8Array(4).fill(0xee);
      const transfer = next.master(parked.streamId).restore((transfers[at] as Transfer).snapshot(), bytes);
      restored[at] = transfer;
      transfer.onEnd((state) => order.push(`${parked.streamId} ${state} ${bytes[0]}`));
      return transfer;
    });
    return { restored, order };
  }

  test('R51 mid-stall: after a restore RESUME answers the held one, then those behind it, in order, bank by bank', () => {
    const { next, order } = carry(held());
    next.first(MISSING, TARGET | SECTION);
    next.flush();
    expect(next.get(0, regs.FSR) & 0x40000000).not.toBe(0);
    resume(next, readings, 'retry');
    expect(next.get(0, regs.FSR) & 0x40000000).toBe(0);
    next.world.clock.run();
    expect(order).toEqual(['0 done 119', '1 done 0', '2 done 0']);
    resume(next, readings, 'retry', 1);
    next.world.clock.run();
    expect(order.slice(3)).toEqual(['4 done 0', '5 done 0']);
    expect(next.world.clock.waits()).toEqual([]);
  });

  test('R51 between RESUME and its effect: the answer is on its way again, and goes out with a clock task', () => {
    const before = held();
    resume(before.rig, readings, 'terminate');
    const { next, restored, order } = carry(before);
    expect(statesOf(restored)).toEqual(['pending', 'pending', 'pending', 'pending', 'pending']);
    // A second RESUME finds nothing to end.
    resume(next, readings, 'retry');
    next.world.clock.run();
    expect(order).toEqual(['0 faulted 238']);
    expect(restored.map(({ state }) => state).slice(1)).toEqual(['pending', 'pending', 'pending', 'pending']);
    expect(next.smmu.snapshot().banks[0]?.stall.waiting).toHaveLength(1);
  });

  test('R52 between a termination and its delivery: all get it, and new accesses are not in its way', () => {
    if (readings.disabledBank !== 'terminates') return;
    const before = held();
    before.rig.set(0, regs.SCTLR, 0);
    const { next, restored, order } = carry(before);
    next.set(0, regs.SCTLR, 1);
    expect(next.load(3, MAPPED)).toBe(0x77);
    expect(restored[0]?.state).toBe('pending');
    next.world.clock.run();
    expect(order).toEqual(['0 faulted 238', '1 faulted 238', '2 faulted 238']);
    expect(statesOf(restored).slice(3)).toEqual(['pending', 'pending']);
  });

  test('R51 answers of several banks go out in the order in which they were caused', () => {
    const before = held();
    resume(before.rig, readings, 'terminate', 1);
    resume(before.rig, readings, 'terminate', 0);
    const { next, order } = carry(before);
    next.world.clock.run();
    expect(order).toEqual(['4 faulted 238', '0 faulted 238']);
  });

  /** What ends the first access of bank 0, and how those behind it then end where MISSING is mapped by now. */
  const ENDS = (
    [
      ['M=0', (rig: Rig) => rig.set(0, regs.SCTLR, 0), 'faulted 238'],
      ['RESUME', (rig: Rig) => resume(rig, readings, 'terminate'), 'done 0'],
    ] as const
  ).filter(([name]) => name === 'RESUME' || readings.disabledBank === 'terminates');

  test.each(ENDS)(
    'R51 R52 a snapshot by who hears of the first end after %s has those behind it; a restored instance answers them',
    (_, end, expected) => {
      const { rig, transfers } = held();
      const carried: ReturnType<typeof carry>[] = [];
      transfers[0]?.onEnd(() => carried.push(carry({ rig, transfers })));
      end(rig);
      rig.world.clock.run();
      expect(carried).toHaveLength(1);
      for (const { next, restored, order } of carried) {
        expect([1, 2, 3, 4].map((at) => restored[at]?.state)).toEqual(Array(4).fill('pending'));
        next.first(MISSING, TARGET | SECTION);
        next.flush();
        next.world.clock.run();
        expect(order).toEqual([`1 ${expected}`, `2 ${expected}`]);
        expect(next.world.clock.waits()).toHaveLength(2);
      }
    },
  );

  test.each(ENDS)(
    'R51 R52 what is half answered after %s comes before what was caused later',
    (_, end, expected) => {
      const { rig, transfers } = held();
      const carried: ReturnType<typeof carry>[] = [];
      transfers[0]?.onEnd(() => carried.push(carry({ rig, transfers })));
      end(rig);
      resume(rig, readings, 'terminate', 1);
      rig.world.clock.run();
      expect(carried).toHaveLength(1);
      for (const { next, order } of carried) {
        next.first(MISSING, TARGET | SECTION);
        next.flush();
        next.world.clock.run();
        expect(order.slice(0, 3)).toEqual([`1 ${expected}`, `2 ${expected}`, '4 faulted 238']);
      }
    },
  );

  test.each(ENDS)(
    'R51 R52 after a restore by who hears of the first end after %s, those behind it are answered as restored, once',
    (_, end, expected) => {
      const { rig, transfers } = held();
      rig.first(MISSING, TARGET | SECTION);
      rig.flush();
      const orders: string[][] = [];
      transfers[0]?.onEnd(() => orders.push(takeOver(rig, rig, transfers).order));
      end(rig);
      // The answers to those that were restored are tasks of their own.
      rig.world.clock.runUntil(() => orders.length > 0);
      expect(orders).toEqual([[]]);
      rig.world.clock.run();
      expect(orders).toEqual([[`1 ${expected}`, `2 ${expected}`]]);
      expect(statesOf(transfers)).toEqual(['faulted', 'pending', 'pending', 'pending', 'pending']);
      expect(rig.smmu.snapshot().due).toEqual([]);
    },
  );

  test('what is held is counted and refused as before: a further access waits behind it', () => {
    const { next, restored } = carry(held());
    const waits = next.smmu.statistics.waits;
    const late = next.master(3).read(MISSING, new Uint8Array(4));
    expect([late.state, next.smmu.statistics.waits]).toEqual(['pending', waits + 1]);
    expect(statesOf(restored)).toEqual(['pending', 'pending', 'pending', 'pending', 'pending']);
  });

  test('reset() leaves nothing of a snapshot: once all are answered, it is a fresh instance', () => {
    const { next, order } = carry(held());
    next.smmu.reset();
    next.world.clock.run();
    expect(order.map((end) => end.split(' ')[1])).toEqual(order.map(() => 'faulted'));
    expect(order).toHaveLength(5);
    expect(next.smmu.snapshot()).toEqual(make().smmu.snapshot());
  });
});

test('a locked entry outside its set is found after a restore, and no ordinary load replaces it', () => {
  const config = { tlbEntries: 8, tlbWays: 2 };
  const rig = new Rig(config);
  rig.route(0, 0);
  rig.attach(0);
  rig.put(regs.CR.offset, 0x40);
  for (let section = 1; section < 40; section++) rig.first(section << 20, TARGET | SECTION);
  lock(rig, 0, 0x00100000, 6);
  const next = new Rig(config);
  next.smmu.restore(rig.smmu.snapshot());
  for (let section = 1; section < 40; section++) next.first(section << 20, TARGET | SECTION);
  for (let section = 1; section < 40; section++) expect(next.translate(0, section << 20)).toBe('done');
  expect(next.translate(0, 0x00100000)).toBe('done');
  expect(next.smmu.statistics.misses - rig.smmu.statistics.misses).toBe(38);
  expect(next.smmu.tlbEntries().filter(({ isLocked }) => isLocked)).toEqual(rig.smmu.tlbEntries());
});

test('a restored answer is the one that was chosen: an access that ACTLR.CFERE had ended without an error still is', () => {
  const readings = { terminatedAccess: 'by-cfere' } as const;
  const rig = stalling(() => new Rig({ readings }), STALL & ~1);
  const transfers = [0, 4].map((mid) => rig.master(mid).read(MISSING, new Uint8Array(4)));
  rig.set(0, regs.RESUME, 1);
  rig.set(1, regs.SCTLR, 0);
  for (const bank of [0, 1]) rig.set(bank, regs.ACTLR, STALL);
  const next = new Rig({ readings });
  const bytes = new Uint8Array(4).fill(0xee);
  const restored: Transfer[] = [];
  next.smmu.restore(rig.smmu.snapshot(), ({ streamId }) => {
    const transfer = next.master(streamId).restore((transfers[streamId / 4] as Transfer).snapshot(), bytes);
    restored.push(transfer);
    return transfer;
  });
  expect(bytes).toEqual(new Uint8Array(4).fill(0xee));
  next.world.clock.run();
  expect(statesOf(restored)).toEqual(['done', 'done']);
  expect(bytes).toEqual(new Uint8Array(4));
});

test('reset() starts the random replacement over, whatever was restored', () => {
  const config: Partial<MsmSmmuConfig> = { tlbReplacement: 'random', tlbEntries: 4, fetchBlocks: 2 };
  const fill = (rig: Rig): readonly unknown[] => {
    rig.route(0, 0);
    rig.attach(0);
    rig.set(0, regs.BFBCR, 1);
    for (let section = 1; section < 20; section++) rig.first(section << 20, TARGET | SECTION);
    for (let section = 1; section < 20; section++) expect(rig.translate(0, section << 20)).toBe('done');
    return rig.smmu.tlbEntries().map(({ iova }) => iova);
  };
  const rig = new Rig(config);
  const expected = fill(rig);
  const next = new Rig(config);
  next.smmu.restore(rig.smmu.snapshot());
  next.smmu.reset();
  expect(next.smmu.snapshot()).toEqual(new Rig(config).smmu.snapshot());
  expect(fill(next)).toEqual(expected);
});
