/** Whose unmaps wait for a flush, and whose never do. */
import { describe, expect, test } from '@jest/globals';
import type { FlushQueueOptions } from '../../src/index.ts';
import { ARENA, deferredMachine, type DeviceSetup, FIRST_IOVA, Machine, PAGE, useOnce } from './fixture.ts';

describe('who waits', () => {
  test('lists, resources and allocations wait as single buffers do', () => {
    const machine = deferredMachine();
    const { dma, read } = machine.add('rot');
    const segments = dma.mapSg(
      [
        { address: ARENA, length: 2 * PAGE },
        { address: ARENA, length: PAGE },
      ],
      'to-device',
    );
    const registers = dma.mapResource(ARENA, PAGE, 'to-device');
    const buffers = [dma.allocCoherent(PAGE), dma.allocNoncontiguous(2 * PAGE, 'to-device')] as const;
    const addresses = [
      segments[0]?.address ?? registers,
      registers,
      ...buffers.map(({ dmaAddress }) => dmaAddress),
    ];
    for (const address of addresses) expect(read(address, PAGE)).toBeDefined();
    dma.unmapSg(segments, 'to-device');
    dma.unmapResource(registers, PAGE, 'to-device');
    dma.freeCoherent(buffers[0]);
    dma.freeNoncontiguous(buffers[1]);
    expect(addresses.map((address) => dma.isStale(address))).toEqual([true, true, true, true]);
    expect(machine.invalidations('rot')).toBe(0);
  });

  test.each<[string, DeviceSetup, Partial<FlushQueueOptions>]>([
    ['a device that is not trusted', { isUntrusted: true }, {}],
    ['a device of a strict machine', {}, {}],
  ])('never %s', (name, setup, queue) => {
    const machine = name.includes('strict') ? new Machine() : deferredMachine(queue);
    const rot = machine.add('rot', setup);
    const address = useOnce(rot);
    expect([rot.read(address, 1), rot.dma.isStale(address), machine.invalidations('rot')]).toEqual([
      undefined,
      false,
      1,
    ]);
    expect(machine.layer.iovaReport(rot.device)?.allocatedBytes).toBe(0);
    expect(machine.layer.iovaReport(rot.device)?.deferred?.pending ?? 0).toBe(0);
  });

  test('without memory for the queue the domain is strict, and says so', () => {
    const machine = deferredMachine();
    machine.world.failpoints.failNth(1, 'dma-mapping.flush-queue');
    const rot = machine.add('rot');
    machine.world.failpoints.reset();
    expect(rot.read(useOnce(rot), 1)).toBeUndefined();
    expect(machine.layer.iovaReport(rot.device)?.deferred).toBeUndefined();
    expect(machine.namesOf('dma:strict_instead_of_deferred')).toHaveLength(1);
  });

  test("devices of one group share the queue: one flush, and the last ring entry may be another's", () => {
    const machine = deferredMachine({ entries: 2 });
    const one = machine.add('one', { behind: 'shared' });
    const two = machine.add('two', { behind: 'shared' });
    const first = useOnce(one);
    expect(useOnce(two)).toBe(FIRST_IOVA - PAGE);
    expect([two.dma.isStale(first), two.read(first, 1) !== undefined]).toEqual([true, true]);
    useOnce(two);
    expect([one.read(first, 1), machine.invalidations('shared')]).toEqual([undefined, 1]);
    expect(machine.layer.iovaReport(one.device)).toEqual(machine.layer.iovaReport(two.device));
  });

  test('with a device that is not trusted its whole group is strict: it would reach what its neighbour unmapped', () => {
    const machine = deferredMachine();
    const one = machine.add('one', { behind: 'shared' });
    const port = machine.add('port', { behind: 'shared', isUntrusted: true });
    const waiting = useOnce(one);
    expect([port.dma.isStale(useOnce(port)), one.dma.isStale(waiting)]).toEqual([false, false]);
    expect(port.read(waiting, 1)).toBeUndefined();
  });

  test('when a driver goes what it unmapped is flushed', () => {
    const machine = deferredMachine();
    const one = machine.add('one', { behind: 'shared' });
    const two = machine.add('two', { behind: 'shared' });
    const address = useOnce(one);
    machine.remove(one);
    expect(two.read(address, 1)).toBeUndefined();
    expect(machine.layer.iovaReport(two.device)).toMatchObject({
      allocatedBytes: 0,
      deferred: { flushes: { asked: 1 }, pending: 0 },
    });
    expect(machine.layer.iovaReport(one.device)).toBeUndefined();
  });
});
