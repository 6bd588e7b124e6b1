/** Every step of every call is made to fail once; afterwards everything is as it was before the call. */
import { describe, expect, test } from '@jest/globals';
import { physAddr } from '@iommu-lab/machine';
import type { DmaOps } from '../src/index.ts';
import { codeOf } from './support/code-of.ts';
import {
  ARENA,
  filled,
  FIRST_IOVA,
  makeSystem,
  type SystemOptions,
  type TestSystem,
} from './support/system.ts';

const PAGE = 4096;

function stateOf(system: TestSystem): unknown {
  const { dma, frames, iommu, device, cache } = system;
  return {
    mappedBytes: dma.mappedBytes,
    freeBytes: frames.freeBytes,
    mappings: iommu.defaultDomainOf(device)?.mappings(),
    masks: [device.dmaMask, device.coherentDmaMask],
    line: cache.lineState(ARENA),
  };
}

const calls: readonly [string, (dma: DmaOps) => void, readonly string[]][] = [
  [
    'mapSingle',
    (dma) => dma.mapSingle(ARENA, 3 * PAGE, 'from-device'),
    ['dma-mapping.iova', 'flat-iommu.table'],
  ],
  ['mapPage', (dma) => dma.mapPage(ARENA, 8, 100, 'from-device'), ['dma-mapping.iova', 'flat-iommu.table']],
  [
    'mapSg',
    (dma) =>
      dma.mapSg(
        [5, 1, 7, 3].map((page) => ({ address: physAddr(ARENA + page * PAGE), length: PAGE })),
        'from-device',
      ),
    ['dma-mapping.iova', 'flat-iommu.table'],
  ],
  [
    'allocCoherent',
    (dma) => dma.allocCoherent(5 * PAGE),
    ['dma-mapping.coherent', 'kernel-mm.frame', 'dma-mapping.iova', 'flat-iommu.table'],
  ],
];

/** Makes the nth step of the call fail. @returns the failpoints it reached and whether it came through */
function expectCleanFailure(call: (dma: DmaOps) => void, n: number): { sites: string[]; isThrough: boolean } {
  const system = makeSystem();
  // Something is mapped already and the buffer's first line is dirty.
  system.dma.mapSingle(physAddr(ARENA + 0x8000), 100, 'to-device');
  system.cpuWrite(ARENA, filled(8, 1));
  const before = stateOf(system);
  const events = system.events.length;
  system.world.failpoints.failNth(n);
  const code = codeOf(() => call(system.dma));
  const sites = [...system.world.failpoints.hits().keys()];
  system.world.failpoints.reset();
  if (code === 'done') return { sites, isThrough: true };

  expect(['ENOMEM', 'ENOSPC']).toContain(code);
  expect(stateOf(system)).toEqual(before);
  expect(system.events.slice(events).filter((e) => e.name.startsWith('dma:'))).toEqual([]);
  // The IOVA space is whole again: the next range is the one below the first.
  expect(system.dma.mapSingle(ARENA, 8, 'to-device')).toBe(FIRST_IOVA - PAGE);
  return { sites, isThrough: false };
}

describe.each(calls)('%s through an IOMMU', (_, call, sites) => {
  test('the nth failure leaves nothing behind', () => {
    const seen = new Set<string>();
    let n = 1;
    for (; ; n++) {
      const outcome = expectCleanFailure(call, n);
      for (const site of outcome.sites) seen.add(site);
      if (outcome.isThrough) break;
    }
    expect(n).toBeGreaterThan(sites.length);
    expect([...seen]).toEqual(expect.arrayContaining([...sites]));
  });
});

test.each<SystemOptions>([{ path: 'direct' }, { path: 'iommu' }])(
  'no taking back reaches a failpoint ($path)',
  (options) => {
    const { dma, world } = makeSystem(options);
    const single = dma.mapSingle(ARENA, 100, 'bidirectional');
    const list = dma.mapSg([{ address: physAddr(ARENA + PAGE), length: 100 }], 'bidirectional');
    const coherent = dma.allocCoherent(100);
    world.failpoints.failNth(1);
    dma.syncSingleForCpu(single, 100, 'bidirectional');
    dma.syncSgForDevice(list, 'bidirectional');
    dma.unmapSingle(single, 100, 'bidirectional');
    dma.unmapSg(list, 'bidirectional');
    dma.freeCoherent(coherent);
    expect(world.failpoints.hasFired).toBe(false);
  },
);
