/** Names, fields and order of the events, as in the kernel's trace groups `dma` and `iommu`. */
import { describe, expect, test } from '@jest/globals';
import { physAddr } from '@iommu-lab/machine';
import { ARENA, makeSystem } from './support/system.ts';

const GROUPS = /^(dma|iommu:(map|unmap)$)/;

function namesOf(events: readonly { name: string }[]): string[] {
  return events.map((e) => e.name).filter((name) => GROUPS.test(name));
}

describe('order relative to the IOMMU', () => {
  test('map, then the event of the call; unmap of a page the same', () => {
    const { dma, events } = makeSystem();
    const address = dma.mapSingle(ARENA, 100, 'to-device');
    dma.syncSingleForCpu(address, 100, 'to-device');
    dma.syncSingleForDevice(address, 100, 'to-device');
    dma.unmapSingle(address, 100, 'to-device');
    expect(namesOf(events)).toEqual([
      'iommu:map',
      'dma:map_page',
      'dma:sync_single_for_cpu',
      'dma:sync_single_for_device',
      'iommu:unmap',
      'dma:unmap_page',
    ]);
  });

  test('lists and coherent memory: the event comes before the unmap', () => {
    const { dma, events } = makeSystem();
    const segments = dma.mapSg([{ address: ARENA, length: 100 }], 'from-device');
    dma.syncSgForCpu(segments, 'from-device');
    dma.syncSgForDevice(segments, 'from-device');
    dma.unmapSg(segments, 'from-device');
    dma.freeCoherent(dma.allocCoherent(100));
    expect(namesOf(events)).toEqual([
      'iommu:map',
      'dma:map_sg',
      'dma:sync_sg_for_cpu',
      'dma:sync_sg_for_device',
      'dma:unmap_sg',
      'iommu:unmap',
      'iommu:map',
      'dma:alloc',
      'dma:free',
      'iommu:unmap',
    ]);
  });
});

test('fields', () => {
  const { dma, events } = makeSystem();
  const address = dma.mapPage(ARENA, 0x10, 100, 'to-device', { site: 'rot: source', skipCpuSync: true });
  dma.unmapPage(address, 100, 'to-device');
  const entries = [
    { address: ARENA, length: 0x1000 },
    { address: physAddr(ARENA + 0x3000), length: 4 },
    { address: physAddr(ARENA + 0x5008), length: 4 },
  ];
  const segments = dma.mapSg(entries, 'bidirectional');
  dma.syncSgForCpu(segments, 'bidirectional');
  dma.unmapSg(segments, 'bidirectional');
  expect(events.filter((e) => e.name.startsWith('dma:')).map((e) => [e.name, e.fields])).toEqual([
    [
      'dma:map_page',
      {
        device: 'rot',
        dir: 'TO_DEVICE',
        dma_addr: '0xffffe010',
        size: 100,
        phys_addr: '0x40000010',
        attrs: 'SKIP_CPU_SYNC',
        site: 'rot: source',
      },
    ],
    [
      'dma:unmap_page',
      { device: 'rot', dir: 'TO_DEVICE', dma_addr: '0xffffe010', size: 100, attrs: '', site: 'rot: source' },
    ],
    [
      'dma:map_sg',
      {
        device: 'rot',
        dir: 'BIDIRECTIONAL',
        nents: 3,
        ents: 2,
        dma_addrs: ['0xffff8000', '0xffffa008'],
        sizes: [0x1004, 4],
        phys_addrs: ['0x40000000', '0x40003000', '0x40005008'],
        attrs: '',
        site: 'rot',
      },
    ],
    [
      'dma:sync_sg_for_cpu',
      {
        device: 'rot',
        dir: 'BIDIRECTIONAL',
        dma_addrs: ['0xffff8000', '0xffffa008'],
        sizes: [0x1004, 4],
      },
    ],
    [
      'dma:unmap_sg',
      {
        device: 'rot',
        dir: 'BIDIRECTIONAL',
        phys_addrs: ['0x40000000', '0x40003000', '0x40005008'],
        attrs: '',
        site: 'rot',
      },
    ],
  ]);
});

test('the label of a mapping reaches the IOMMU and its log', () => {
  const { dma, iommu, device } = makeSystem();
  dma.mapSingle(ARENA, 100, 'to-device', { site: 'rot: source' });
  expect(iommu.defaultDomainOf(device)?.mappings()[0]?.by).toBe('rot: source');
});
