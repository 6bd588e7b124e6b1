/** What a listener of `dma:flush_queue` sees, and what becomes of what it unmaps meanwhile. */
import { describe, expect, test } from '@jest/globals';
import { type Iova, physAddr } from '@iommu-lab/machine';
import { ARENA, deferredMachine, PAGE } from './fixture.ts';

const MS = 1_000_000;
const APERTURE = { start: 0, last: 16 * PAGE - 1 };

type Reason = 'asked' | 'timeout' | 'full';

/** Two mappings that the IOMMU remembers, the first of them unmapped. `onFlush` is called at the first flush. */
function aboutToFlush(reason: Reason, onFlush: (second: Iova, first: Iova) => void) {
  const machine = deferredMachine(reason === 'full' ? { entries: 1 } : {});
  const rot = machine.add('rot', { aperture: APERTURE });
  const { dma, read } = rot;
  const [first, second, third] = [0, 1, 2].map((n) =>
    dma.mapSingle(physAddr(ARENA + n * PAGE), PAGE, 'to-device'),
  ) as [Iova, Iova, Iova];
  for (const address of [first, second, third]) expect(read(address, 1)).toBeDefined();
  let calls = 0;
  machine.world.events.subscribe(({ name }) => {
    if (name === 'dma:flush_queue' && calls++ === 0) onFlush(second, first);
  });
  const flush = (): void => {
    dma.unmapSingle(first, PAGE, 'to-device');
    if (reason === 'asked') machine.layer.flush(rot.device);
    else if (reason === 'timeout') machine.world.clock.advance(10 * MS);
    else dma.unmapSingle(third, PAGE, 'to-device');
    expect(calls).toBe(1);
  };
  /** Everything that is free, page by page, and free again. */
  const freePages = (): readonly number[] => {
    const taken = [];
    for (;;) {
      const reservation = dma.tryAllocIova(ARENA, PAGE);
      if (reservation === undefined) break;
      taken.push(reservation);
    }
    for (const reservation of taken) dma.freeIova(reservation);
    return taken.map(({ address }) => address);
  };
  return { machine, ...rot, first, second, flush, freePages };
}

describe.each<Reason>(['asked', 'timeout', 'full'])('a flush because %s', (reason) => {
  test('what was flushed is not stale in the listener, and the device is out', () => {
    const seen: unknown[] = [];
    const { dma, read, flush, machine, device } = aboutToFlush(reason, (_second, first) => {
      const pending = machine.layer.iovaReport(device)?.deferred?.pending;
      seen.push(dma.isStale(first), read(first, 1), pending);
    });
    flush();
    expect(seen).toEqual([false, undefined, 0]);
  });

  test('what the listener unmaps waits for the next flush, and so do its IOVAs', () => {
    const context = aboutToFlush(reason, (second) => context.dma.unmapSingle(second, PAGE, 'to-device'));
    const { machine, dma, read, device, first, second, flush, freePages } = context;
    flush();
    expect([dma.isStale(second), read(second, 1) !== undefined]).toEqual([true, true]);
    const waiting = reason === 'full' ? 2 : 1;
    expect(machine.layer.iovaReport(device)?.deferred).toMatchObject({ ranges: 1, pending: waiting });
    const free = freePages();
    expect([free.includes(first), free.includes(second)]).toEqual([true, false]);
    machine.world.clock.advance(10 * MS);
    expect([dma.isStale(second), read(second, 1)]).toEqual([false, undefined]);
    expect(machine.layer.iovaReport(device)?.deferred).toMatchObject({ ranges: 1 + waiting, pending: 0 });
    expect(freePages()).toContain(second);
  });
});
