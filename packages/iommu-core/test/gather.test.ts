import { describe, expect, test } from '@jest/globals';
import { Gather, type GatherOwner } from '../src/index.ts';

/** Owners that note what they sync and finish it, as a domain does. */
function owners(): { readonly a: GatherOwner; readonly b: GatherOwner; readonly log: unknown[] } {
  const log: unknown[] = [];
  const owner = (name: string): GatherOwner => ({
    sync(gather) {
      log.push([name, gather.ranges.map((r) => [r.iova, r.sizeBytes])]);
      gather.finish();
    },
  });
  return { a: owner('a'), b: owner('b'), log };
}

describe('the parts of a gather', () => {
  test('are each synced by their owner, the first one last, and freed after that', () => {
    const { a, b, log } = owners();
    const gather = new Gather();
    gather.freeLater(() => log.push('freed for the caller'));
    gather.part(a).addRange(0, 8, 4);
    gather.part(b).addRange(16, 8, 8);
    gather.part(b).freeLater(() => log.push('freed for b'));
    gather.part(a).addRange(8, 4, 4);
    gather.syncParts();
    expect(log).toEqual([['b', [[16, 8]]], 'freed for b', ['a', [[0, 12]]], 'freed for the caller']);
  });

  test('count as its contents', () => {
    const { a, b } = owners();
    const gather = new Gather();
    gather.part(a);
    expect([gather.isEmpty, gather.part(b).isEmpty]).toEqual([true, true]);
    gather.part(b).addRange(0, 4, 4);
    expect([gather.isEmpty, gather.ranges]).toEqual([false, []]);
    let isFreed = false;
    gather.part(b).freeLater(() => (isFreed = true));
    gather.finish();
    expect([gather.isEmpty, isFreed, gather.part(b).ranges]).toEqual([true, true, []]);
  });

  test('are forgotten with their sync: the next owner has the gather itself again', () => {
    const { a, b, log } = owners();
    const gather = new Gather();
    expect(gather.part(a)).toBe(gather);
    expect(gather.part(b)).not.toBe(gather);
    gather.syncParts();
    expect(gather.part(b)).toBe(gather);
    gather.syncParts();
    expect(log).toEqual([
      ['b', []],
      ['a', []],
      ['b', []],
    ]);
  });
});
