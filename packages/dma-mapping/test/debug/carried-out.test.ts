/** After a report a call is carried out as the mapping's own record says. */
import { describe, expect, test } from '@jest/globals';
import { LabError, type PhysAddr } from '@iommu-lab/machine';
import type { DmaErrorKind } from '../../src/debug/dma-debug.ts';
import { DMA_MAPPING_ERROR, type SgTable } from '../../src/dma-ops.ts';
import { codeOf } from '../support/code-of.ts';
import { at, BUFFER, type FakeScene, makeScene, PRIVATE, SECOND, VMALLOC } from './support/scene.ts';

function kindsOf({ debug }: FakeScene): readonly DmaErrorKind[] {
  return debug.reports.map(({ kind }) => kind);
}

function lastCall({ fake }: FakeScene): string | undefined {
  return fake.calls.at(-1);
}

describe('unmap', () => {
  test('with a wrong size and direction: both are said, and the right ones go on', () => {
    const scene = makeScene();
    const address = scene.dma.mapSingle(BUFFER, 4096, 'from-device');
    scene.dma.unmapSingle(address, 64, 'to-device');
    expect(kindsOf(scene)).toEqual(['unmap-wrong-size', 'unmap-wrong-direction']);
    expect(lastCall(scene)).toBe('unmap single 0xc0000000+4096 from-device');
  });

  test('in two halves: the second half is not another mistake, but the same address again is', () => {
    const scene = makeScene();
    const address = scene.dma.mapSingle(BUFFER, 4096, 'from-device');
    scene.dma.unmapSingle(address, 2048, 'from-device');
    scene.dma.unmapSingle(at(address, 2048), 2048, 'from-device');
    expect(kindsOf(scene)).toEqual(['unmap-wrong-size']);
    scene.dma.unmapSingle(address, 2048, 'from-device');
    expect(kindsOf(scene)).toEqual(['unmap-wrong-size', 'unmap-not-mapped']);
  });

  test('inside a mapping: it says of which, and nothing goes on', () => {
    const scene = makeScene();
    const address = scene.dma.mapSingle(BUFFER, 4096, 'from-device', { site: 'rot: frame' });
    scene.dma.unmapSingle(at(address, 0x40), 64, 'from-device');
    expect(scene.debug.reports).toMatchObject([
      {
        kind: 'unmap-not-mapped',
        mapping: { site: 'rot: frame' },
        text: expect.stringContaining('64 bytes into'),
      },
    ]);
    expect(scene.fake.mappedBytes).toBe(4096);
  });

  test('of coherent memory as a buffer: it is freed', () => {
    const scene = makeScene();
    const buffer = scene.dma.allocCoherent(4096);
    scene.dma.unmapSingle(buffer.dmaAddress, 4096, 'bidirectional');
    expect(kindsOf(scene)).toEqual(['unmap-wrong-function']);
    expect(lastCall(scene)).toBe('free coherent 0xc0010000');
  });

  test('of a buffer by the function for registers, and the other way round', () => {
    const scene = makeScene();
    scene.dma.unmapResource(scene.dma.mapPage(BUFFER, 0, 64, 'to-device'), 64, 'to-device');
    expect(lastCall(scene)).toBe('unmap single 0xc0000000+64 to-device');
    scene.dma.unmapPage(scene.dma.mapResource(0x100 as PhysAddr, 64, 'to-device'), 64, 'to-device');
    expect(lastCall(scene)).toBe('unmap resource 0x80000100+64 to-device');
    expect(kindsOf(scene)).toEqual(['unmap-wrong-function', 'unmap-wrong-function']);
  });

  test('of a table whose segments were cut: the whole list is', () => {
    const scene = makeScene();
    const table: SgTable = {
      entries: [
        { address: BUFFER, length: 64 },
        { address: SECOND, length: 64 },
      ],
      segments: [],
    };
    scene.dma.mapSgTable(table, 'from-device');
    table.segments = table.segments.slice(0, 1);
    scene.dma.syncSgTableForCpu(table, 'from-device');
    table.segments = table.segments.slice(1);
    scene.dma.unmapSgTable(table, 'from-device');
    expect(kindsOf(scene)).toEqual(['sync-wrong-count', 'unmap-wrong-count']);
    expect(lastCall(scene)).toBe('unmap sg 0xc0000000+64,0xc0002000+64 from-device');
    expect(table.segments).toEqual([]);
  });

  test('of an empty list, which names nothing', () => {
    const scene = makeScene();
    scene.dma.unmapSg([], 'from-device');
    scene.dma.syncSgForCpu([], 'from-device');
    expect(kindsOf(scene)).toEqual(['unmap-not-mapped', 'sync-not-mapped']);
    expect(scene.fake.calls).toEqual([]);
  });

  test('of one of two mappings at an address: the one that fits', () => {
    const scene = makeScene({ path: 'direct' });
    const address = scene.dma.mapSingle(BUFFER, 64, 'to-device', { site: 'small' });
    scene.dma.mapSingle(BUFFER, 4096, 'to-device', { site: 'big' });
    scene.dma.unmapSingle(address, 4096, 'to-device');
    expect(scene.debug.liveMappings()).toMatchObject([{ site: 'small' }]);
    scene.dma.mapSingle(BUFFER, 4096, 'bidirectional', { site: 'both ways' });
    // Nothing fits: the kernel says "not mapped" here.
    scene.dma.unmapSingle(address, 4096, 'to-device');
    expect(scene.debug.reports).toMatchObject([{ kind: 'unmap-wrong-size', mapping: { site: 'small' } }]);
    expect(scene.debug.liveMappings()).toMatchObject([{ site: 'both ways' }]);
  });
});

describe('free', () => {
  test('twice: the second is told, and not done', () => {
    const scene = makeScene();
    const buffer = scene.dma.allocNoncoherent(4096, 'to-device', { site: 'rot: commands' });
    scene.dma.freeNoncoherent(buffer, { site: 'rot: error path' });
    scene.dma.freeNoncoherent(buffer, { site: 'rot: remove' });
    expect(scene.debug.reports).toMatchObject([
      {
        kind: 'unmap-not-mapped',
        culprit: { site: 'rot: remove' },
        unmappedBy: { site: 'rot: error path' },
        mapping: { site: 'rot: commands' },
      },
    ]);
    expect(scene.fake.calls).toHaveLength(1);
  });

  test('twice, with something else at its address by now: that stays', () => {
    const scene = makeScene({ path: 'direct' });
    const buffer = scene.dma.allocNoncoherent(4096, 'to-device');
    scene.dma.freeNoncoherent(buffer);
    scene.dma.mapSingle(buffer.address, 4096, 'to-device', { site: 'somebody else' });
    scene.dma.freeNoncoherent(buffer);
    expect(kindsOf(scene)).toEqual(['unmap-not-mapped']);
    expect(scene.debug.liveMappings()).toMatchObject([{ site: 'somebody else' }]);
  });

  test('of coherent memory by a handle made up from its address', () => {
    const scene = makeScene();
    const buffer = scene.dma.allocCoherent(4096);
    const { dmaAddress, sizeBytes } = buffer;
    scene.dma.freeCoherent({ ...buffer, dmaAddress, sizeBytes });
    expect(kindsOf(scene)).toEqual(['free-wrong-handle']);
    expect(scene.fake.mappedBytes).toBe(0);
  });

  test('by the call of another kind', () => {
    const scene = makeScene();
    const buffer = scene.dma.allocNoncontiguous(4096, 'to-device');
    scene.dma.freeNoncoherent({ ...buffer, address: BUFFER });
    expect(kindsOf(scene)).toEqual(['unmap-wrong-function']);
    expect(lastCall(scene)).toBe('free noncontiguous 0xc0010000');
  });

  test('that the inner operations refuse passes through, and the memory stays known', () => {
    const scene = makeScene();
    const buffer = scene.dma.allocCoherent(4096);
    const free = scene.fake.freeCoherent.bind(scene.fake);
    scene.fake.freeCoherent = () => {
      throw new LabError('EBUSY', 'a process has it mapped');
    };
    expect(codeOf(() => scene.dma.freeCoherent(buffer))).toBe('EBUSY');
    scene.fake.freeCoherent = free;
    expect(scene.debug.liveMappings()).toHaveLength(1);
    scene.dma.freeCoherent(buffer);
    scene.debug.expectNoReports();
  });
});

describe('sync', () => {
  test('that sticks out behind or in front is cut', () => {
    const scene = makeScene();
    const address = scene.dma.mapSingle(BUFFER, 4096, 'from-device');
    scene.dma.syncSingleForCpu(at(address, 4000), 128, 'from-device');
    expect(lastCall(scene)).toBe('sync for cpu 0xc0000fa0+96 from-device');
    scene.dma.syncSingleForDevice(at(address, -64), 128, 'from-device');
    expect(lastCall(scene)).toBe('sync for device 0xc0000000+64 from-device');
    expect(kindsOf(scene)).toEqual(['sync-not-mapped', 'sync-not-mapped']);
  });

  test('in a wrong direction is done in the right one', () => {
    const scene = makeScene();
    const address = scene.dma.mapSingle(BUFFER, 64, 'from-device');
    scene.dma.syncSingleForDevice(address, 64, 'bidirectional');
    expect(kindsOf(scene)).toEqual(['sync-for-device-of-from-device']);
    expect(lastCall(scene)).toBe('sync for device 0xc0000000+64 from-device');
  });

  test('of coherent memory is told and not done', () => {
    const scene = makeScene();
    const buffer = scene.dma.allocCoherent(4096);
    scene.dma.syncSingleForCpu(buffer.dmaAddress, 64, 'bidirectional');
    expect(kindsOf(scene)).toEqual(['sync-not-mapped']);
    expect(scene.fake.calls).toEqual([]);
  });

  test('of one segment of a list as a single range is right', () => {
    const scene = makeScene();
    const [, second] = scene.dma.mapSg(
      [
        { address: BUFFER, length: 64 },
        { address: SECOND, length: 64 },
      ],
      'from-device',
    );
    scene.dma.syncSingleForCpu(at(second?.address ?? (0 as never), 8), 8, 'from-device');
    scene.load(SECOND + 8, 8);
    scene.debug.expectNoReports();
    scene.load(SECOND, 8);
    expect(kindsOf(scene)).toEqual(['cpu-load-while-device-owns']);
  });
});

describe('map', () => {
  test('of memory that must not be mapped throws where the error is no value', () => {
    const scene = makeScene();
    expect(codeOf(() => scene.dma.mapSingle(VMALLOC, 64, 'to-device'))).toBe('EINVAL');
    expect(codeOf(() => scene.dma.mapPage(PRIVATE, 0, 64, 'to-device'))).toBe('EINVAL');
    expect(codeOf(() => scene.dma.mapResource(BUFFER, 64, 'to-device'))).toBe('EINVAL');
    expect(scene.fake.calls).toEqual([]);
  });

  test('that fails is no mapping', () => {
    const scene = makeScene();
    scene.fillUp();
    expect(codeOf(() => scene.dma.mapSingle(BUFFER, 64, 'to-device'))).toBe('ENOSPC');
    expect(scene.dma.mapSingle(BUFFER, 64, 'to-device', { errorAsValue: true })).toBe(DMA_MAPPING_ERROR);
    expect(scene.debug.liveMappings()).toEqual([]);
    scene.debug.expectNoReports();
  });

  test('says nothing about addresses that the kernel map finds good', () => {
    const scene = makeScene({ debug: { kernelMap: { kindOf: () => 'memory' } } });
    scene.dma.unmapSingle(scene.dma.mapSingle(VMALLOC, 64, 'to-device'), 64, 'to-device');
    expect(kindsOf(scene)).toEqual([]);
  });
});

describe('two steps', () => {
  test('a wrong unlink takes back the pieces that lie in its range', () => {
    const scene = makeScene();
    const space = scene.dma.tryAllocIova(BUFFER, 0x3000) ?? (undefined as never);
    scene.dma.linkIova(space, BUFFER, 0, 4096, 'to-device');
    scene.dma.linkIova(space, SECOND, 4096, 8192, 'to-device');
    scene.dma.unlinkIova(space, 0, 8192, 'to-device');
    expect(kindsOf(scene)).toEqual(['iova-unlink-not-linked']);
    expect(scene.debug.liveMappings()).toMatchObject([{ sizeBytes: 8192 }]);
    scene.dma.destroyIova(space, 8192, 'to-device');
    expect(kindsOf(scene)).toEqual(['iova-unlink-not-linked', 'iova-destroy-wrong-length']);
    expect(scene.fake.reservations.size).toBe(0);
  });

  test('a wrong direction is told, and the right one used', () => {
    const scene = makeScene();
    const space = scene.dma.tryAllocIova(BUFFER, 4096) ?? (undefined as never);
    scene.dma.linkIova(space, BUFFER, 0, 4096, 'to-device');
    scene.dma.destroyIova(space, 4096, 'from-device');
    expect(kindsOf(scene)).toEqual(['unmap-wrong-direction']);
    expect(scene.fake.mappedBytes).toBe(0);
  });

  test('a piece that is unmapped as a buffer stays until its reservation goes', () => {
    const scene = makeScene();
    const space = scene.dma.tryAllocIova(BUFFER, 4096) ?? (undefined as never);
    scene.dma.linkIova(space, BUFFER, 0, 4096, 'to-device');
    scene.dma.unmapSingle(space.address, 4096, 'to-device');
    expect(kindsOf(scene)).toEqual(['unmap-wrong-function']);
    scene.dma.destroyIova(space, 4096, 'to-device');
    expect(kindsOf(scene)).toEqual(['unmap-wrong-function']);
  });

  test('links that cannot be are refused, and leave nothing', () => {
    const scene = makeScene();
    const space = scene.dma.tryAllocIova(BUFFER, 4096) ?? (undefined as never);
    scene.dma.linkIova(space, BUFFER, 0, 4096, 'to-device');
    expect(codeOf(() => scene.dma.linkIova(space, BUFFER, 2048, 64, 'to-device'))).toBe('EEXIST');
    expect(codeOf(() => scene.dma.linkIova(space, BUFFER, 4096, 64, 'to-device'))).toBe('EINVAL');
    scene.dma.destroyIova(space, 4096, 'to-device');
    expect(codeOf(() => scene.dma.linkIova(space, BUFFER, 0, 64, 'to-device'))).toBe('EINVAL');
    expect(kindsOf(scene)).toEqual(['iova-link-over-linked', 'iova-outside', 'iova-use-after-destroy']);
  });

  test('a sync that came before the link does not count', () => {
    const scene = makeScene();
    const space = scene.dma.tryAllocIova(BUFFER, 4096) ?? (undefined as never);
    scene.dma.syncIova(space, 0, 4096);
    scene.dma.linkIova(space, BUFFER, 0, 4096, 'to-device');
    scene.read(space.address, 64);
    expect(kindsOf(scene)).toEqual(['iova-access-before-sync']);
  });

  test('without IOVA space there is nothing to watch', () => {
    const scene = makeScene({ path: 'direct' });
    expect(scene.dma.tryAllocIova(BUFFER, 4096)).toBeUndefined();
  });
});

test('limits, masks and looks go through unchanged', () => {
  const { dma, fake } = makeScene();
  expect(dma).toMatchObject({
    kind: 'debug(fake)',
    requiredMask: fake.requiredMask,
    isAddressingLimited: true,
    maxMappingSize: fake.maxMappingSize,
    optMappingSize: fake.optMappingSize,
    mergeBoundary: fake.mergeBoundary,
    mappedBytes: 0,
    reservedBytes: 0,
  });
  dma.setMask(1);
  dma.setStreamingMask(1);
  dma.setCoherentMask(1);
  dma.setParameters({});
  expect(fake.calls).toEqual(['setMask', 'setStreamingMask', 'setCoherentMask', 'setParameters']);
  const address = dma.mapSingle(BUFFER, 64, 'to-device');
  expect(dma.needSync(address)).toBe(true);
  expect(dma.isStale(address)).toBe(false);
});
