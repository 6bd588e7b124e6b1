/** Memory of a bus's own way: what the way allocated goes back to the way, once, and to nobody else. */
import { describe, expect, test } from '@jest/globals';
import { type Iova, LabError, physAddr } from '@iommu-lab/machine';
import type { DmaOps, DmaPath, SgEntry } from '../../src/index.ts';
import { codeOf } from '../support/code-of.ts';
import { ARENA, Machine, PAGE } from './fixture.ts';

/** A way with memory of its own in the arena, which no frame allocator has. */
function ownMemory() {
  const log = {
    allocated: [] as (readonly SgEntry[])[],
    freed: [] as (readonly SgEntry[])[],
    failing: false,
  };
  const path: DmaPath = {
    kind: 'own',
    smallestMask: PAGE - 1,
    requiredMask: 0xffffffff,
    isAddressingLimited: false,
    maxMappingSize: Number.MAX_SAFE_INTEGER,
    optMappingSize: Number.MAX_SAFE_INTEGER,
    mergeBoundary: 0,
    map: (entries) => {
      if (log.failing) throw new LabError('EIO', 'the bus is gone', {});
      const pieces = entries.map((entry) => ({ iova: entry.address as number as Iova, ...entry }));
      const segments = pieces.map(({ iova, length }) => ({ address: iova, length }));
      return { segments, pieces, range: { start: 0 as Iova, sizeBytes: 0 } };
    },
    unmap: () => {
      // The way keeps no table.
    },
    allocateMemory: (sizeBytes) => {
      const pieces = [{ address: physAddr(ARENA + 3 * PAGE), length: Math.ceil(sizeBytes / PAGE) * PAGE }];
      log.allocated.push(pieces);
      return pieces;
    },
    freeMemory: (pieces) => {
      log.freed.push(pieces);
    },
    isStale: () => false,
  };
  const machine = new Machine({ wiring: { pathOf: () => path } });
  return { machine, log, dma: machine.add('odd', { behind: 'direct' }).dma };
}

const kinds: Readonly<Record<string, (dma: DmaOps) => () => void>> = {
  coherent: (dma) => {
    const buffer = dma.allocCoherent(PAGE + 1);
    return () => dma.freeCoherent(buffer);
  },
  noncoherent: (dma) => {
    const buffer = dma.allocNoncoherent(PAGE + 1, 'bidirectional');
    return () => dma.freeNoncoherent(buffer);
  },
  noncontiguous: (dma) => {
    const buffer = dma.allocNoncontiguous(PAGE + 1, 'bidirectional');
    return () => dma.freeNoncontiguous(buffer);
  },
};

describe.each(Object.entries(kinds))('%s', (_name, allocate) => {
  test('freeing calls freeMemory once, with what allocateMemory gave; a second free is EINVAL and calls nothing', () => {
    const { machine, log, dma } = ownMemory();
    const free = machine.frames.freeBytes;
    const giveBack = allocate(dma);
    expect([log.allocated.length, log.freed]).toEqual([1, []]);
    giveBack();
    expect(codeOf(giveBack)).toBe('EINVAL');
    expect(log.freed).toEqual(log.allocated);
    expect([dma.mappedBytes, machine.frames.freeBytes]).toEqual([0, free]);
  });

  test('a map that fails gives the memory back, once', () => {
    const { log, dma } = ownMemory();
    log.failing = true;
    expect(codeOf(() => allocate(dma))).toBe('EIO');
    expect(log.allocated).toHaveLength(1);
    expect(log.freed).toEqual(log.allocated);
    expect(dma.mappedBytes).toBe(0);
  });
});
