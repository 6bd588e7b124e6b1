/** Deferred invalidation: the window between an unmap and its flush, from the device's side. */
import { describe, expect, test } from '@jest/globals';
import type { Iova } from '@iommu-lab/machine';
import { ARENA, type Attached, deferredMachine, filled, type Machine, PAGE, useOnce } from './fixture.ts';

const MS = 1_000_000;

const reportOf = (machine: Machine, { device }: Attached) => machine.layer.iovaReport(device);

describe('the window', () => {
  test('the device reads and writes the old memory until the time is up, and not a nanosecond longer', () => {
    const machine = deferredMachine();
    const rot = machine.add('rot');
    const address = useOnce(rot);
    expect(rot.dma.isStale((address + PAGE - 1) as Iova)).toBe(true);
    expect(rot.dma.isStale((address + PAGE) as Iova)).toBe(false);
    machine.world.clock.advance(10 * MS - 1);
    expect(rot.write(address, filled(4, 0xbd))).toBe(true);
    expect(machine.memoryAt(ARENA, 4)).toEqual(filled(4, 0xbd));
    machine.world.clock.advance(1);
    expect([rot.read(address, 4), rot.dma.isStale(address)]).toEqual([undefined, false]);
    expect(reportOf(machine, rot)?.deferred).toEqual({
      flushes: { full: 0, timeout: 1, asked: 0 },
      ranges: 1,
      longestNs: 10 * MS,
      totalNs: 10 * MS,
      pending: 0,
    });
  });

  test('what the IOMMU does not remember is out of reach at once', () => {
    const machine = deferredMachine();
    const { dma, read } = machine.add('rot');
    const address = dma.mapSingle(ARENA, PAGE, 'to-device');
    dma.unmapSingle(address, PAGE, 'to-device');
    expect(read(address, 1)).toBeUndefined();
  });

  test('the statistics say how long each range was open', () => {
    const machine = deferredMachine({ timeoutNs: 1000 });
    const rot = machine.add('rot');
    useOnce(rot);
    machine.world.clock.advance(400);
    useOnce(rot);
    machine.world.clock.advance(500);
    useOnce(rot);
    machine.world.clock.advance(100);
    expect(reportOf(machine, rot)?.deferred).toMatchObject({
      ranges: 3,
      longestNs: 1000,
      totalNs: 1000 + 600 + 100,
    });
    // The timer starts anew with the next range, not before.
    machine.world.clock.advance(5000);
    useOnce(rot);
    machine.world.clock.advance(999);
    expect(reportOf(machine, rot)?.deferred?.pending).toBe(1);
    machine.world.clock.advance(1);
    expect(reportOf(machine, rot)?.deferred).toMatchObject({ flushes: { timeout: 2 }, pending: 0 });
  });

  test('a flush that was asked for ends the timer: the next range has all of its time', () => {
    const machine = deferredMachine({ timeoutNs: 1000 });
    const rot = machine.add('rot');
    useOnce(rot);
    machine.world.clock.advance(600);
    machine.layer.flush(rot.device);
    const address = useOnce(rot);
    machine.world.clock.advance(999);
    expect(rot.dma.isStale(address)).toBe(true);
    machine.world.clock.advance(1);
    expect(rot.dma.isStale(address)).toBe(false);
  });

  test("IOVAs are nobody's until then: new mappings lie elsewhere, and space can run out", () => {
    const machine = deferredMachine();
    const rot = machine.add('rot', { aperture: { start: 0, last: 4 * PAGE - 1 } });
    const used = [useOnce(rot), useOnce(rot)];
    expect(used).toEqual([2 * PAGE, PAGE]);
    expect(rot.dma.mappingError(rot.dma.mapSingle(ARENA, 8, 'to-device', { errorAsValue: true }))).toBe(true);
    expect(reportOf(machine, rot)).toMatchObject({ allocatedBytes: 2 * PAGE, deferred: { pending: 2 } });
    machine.layer.flush(rot.device);
    expect(reportOf(machine, rot)).toMatchObject({
      allocatedBytes: 0,
      deferred: { flushes: { asked: 1 }, pending: 0 },
    });
    expect(used).toContain(rot.dma.mapSingle(ARENA, 8, 'to-device'));
  });
});

describe('a full ring', () => {
  test('holds exactly `entries` ranges; the next unmap flushes them and waits itself', () => {
    const machine = deferredMachine({ entries: 4 });
    const rot = machine.add('rot');
    const held = [1, 2, 3, 4].map(() => useOnce(rot));
    expect(new Set(held).size).toBe(4);
    expect(held.every((address) => rot.dma.isStale(address))).toBe(true);
    expect([machine.invalidations('rot'), reportOf(machine, rot)?.deferred?.pending]).toEqual([0, 4]);
    const next = useOnce(rot);
    expect(machine.invalidations('rot')).toBe(1);
    expect(held.map((address) => rot.read(address, 1))).toEqual(held.map(() => undefined));
    expect([rot.dma.isStale(next), rot.read(next, 1)]).toEqual([true, filled(1, 0)]);
    expect(reportOf(machine, rot)).toMatchObject({
      allocatedBytes: PAGE,
      deferred: { flushes: { full: 1, timeout: 0, asked: 0 }, ranges: 4, pending: 1 },
    });
  });

  test('has 256 entries and 10 ms unless it is told otherwise', () => {
    const machine = deferredMachine();
    const rot = machine.add('rot');
    for (let i = 0; i < 256; i++) useOnce(rot);
    expect(reportOf(machine, rot)?.deferred).toMatchObject({ pending: 256, ranges: 0 });
    useOnce(rot);
    expect(reportOf(machine, rot)?.deferred).toMatchObject({ flushes: { full: 1 }, ranges: 256, pending: 1 });
  });

  test('each CPU has a ring of its own; one flush serves them all, and each gets its IOVAs back when it is next there', () => {
    const machine = deferredMachine({ entries: 2 }, 2);
    const { world } = machine;
    const rot = machine.add('rot');
    world.currentCpu = 1;
    const others = [useOnce(rot), useOnce(rot)];
    world.currentCpu = 0;
    const own = [useOnce(rot), useOnce(rot)];
    expect(machine.invalidations('rot')).toBe(0);
    const last = useOnce(rot);
    expect(machine.invalidations('rot')).toBe(1);
    expect([...others, ...own].map((address) => rot.read(address, 1))).toEqual(Array(4).fill(undefined));
    expect([...others, ...own].some((address) => rot.dma.isStale(address))).toBe(false);
    // CPU 1's two have not come back yet, and the last one waits.
    expect(reportOf(machine, rot)?.allocatedBytes).toBe(3 * PAGE);
    world.currentCpu = 1;
    useOnce(rot);
    expect(reportOf(machine, rot)?.allocatedBytes).toBe(2 * PAGE);
    expect(machine.invalidations('rot')).toBe(1);
    machine.world.clock.advance(10 * MS);
    expect(reportOf(machine, rot)).toMatchObject({ allocatedBytes: 0, deferred: { ranges: 6, pending: 0 } });
    expect(rot.read(last, 1)).toBeUndefined();
  });
});
