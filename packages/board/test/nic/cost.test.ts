import { describe, expect, test } from '@jest/globals';
import {
  costOf,
  CPU_PARTS,
  cyclesOf,
  IOMMU_PARTS,
  NIC_PRICES,
  type NicCounts,
  PUBLISHED,
  renderBars,
  renderBarsSvg,
} from '../../src/index.ts';

const COUNTS: NicCounts = {
  packets: 10,
  unmaps: 10,
  tableStores: 20,
  iovasCached: 9,
  iovasTree: 1,
  bounceSlots: 2,
  invalidations: 10,
  cacheLines: 700,
  copiedBytes: 3000,
  tlbHits: 20,
  tlbMisses: 10,
  walkReads: 20,
};

describe('the cost model', () => {
  test('is counts times prices, a packet', () => {
    const prices = {
      stack: 1000,
      tableStore: 100,
      iovaCached: 10,
      iovaTree: 200,
      bounceSlot: 5,
      invalidation: 70,
      cacheLine: 2,
      copiedByte: 0.5,
      tlbHit: 1,
      walkRead: 8,
    };
    const cost = costOf(COUNTS, prices);
    expect(cost).toEqual({
      stack: 1000,
      'map/unmap': (2000 + 90 + 200 + 10) / 10,
      invalidation: 70,
      cache: 140,
      copy: 150,
      translation: (20 + 160) / 10,
    });
    expect(cyclesOf(cost)).toBe(1000 + 230 + 70 + 140 + 150 + 18);
    expect(cyclesOf(cost, IOMMU_PARTS)).toBe(230 + 70 + 18);
    expect(cyclesOf(cost, CPU_PARTS)).toBe(cyclesOf(cost) - 18);
  });

  test('costs nothing but the stack where nothing happened', () => {
    const none = Object.fromEntries(Object.keys(COUNTS).map((key) => [key, 0])) as unknown as NicCounts;
    expect(cyclesOf(costOf(none, NIC_PRICES))).toBe(NIC_PRICES.stack);
  });
});

test('published figures are beside ours also where ours are nothing', () => {
  const nothing = { stack: 0, 'map/unmap': 0, invalidation: 0, cache: 0, copy: 0, translation: 0 };
  const costs = { direct: nothing, strict: nothing, deferred: nothing, bounce: nothing };
  expect(PUBLISHED.map(({ here }) => here(costs))).toEqual(PUBLISHED.map(() => '-'));
});

describe('stacked bars', () => {
  const chart = {
    title: 'cycles',
    parts: ['a', 'b <&>', 'c'],
    bars: [
      { label: 'one', values: [30, 30, 40] },
      { label: 'seven', values: [1, 0, 49] },
    ],
  };

  test('as text fill the width, in proportion, whatever is rounded', () => {
    for (let columns = 24; columns < 120; columns++) {
      const [title, one = '', seven = '', key] = renderBars(chart, columns).split('\n');
      expect([title, key]).toEqual(['cycles', '█ a  ▓ b <&>  ▒ c']);
      expect(one).toHaveLength(columns);
      expect(one).toMatch(/^one    100  █+▓+▒+$/);
      expect(Math.abs(barOf(one) - 2 * barOf(seven))).toBeLessThanOrEqual(1);
    }
  });

  test('as a picture are as wide as they are much, and say so', () => {
    const svg = renderBarsSvg(chart);
    const pieces = [...svg.matchAll(/<rect x="([\d.]+)"[^>]*width="([\d.]+)"[^>]*><title>([^<]*)</g)];
    expect(pieces.map(([, , , title]) => title)).toEqual([
      'one: a 30',
      'one: b &lt;&amp;&gt; 30',
      'one: c 40',
      'seven: a 1',
      'seven: b &lt;&amp;&gt; 0',
      'seven: c 49',
    ]);
    const widths = pieces.map(([, , width]) => Number(width));
    const perCycle = (widths[0] as number) / 30;
    [30, 30, 40, 1, 0, 49].forEach((value, i) => expect(widths[i]).toBeCloseTo(value * perCycle, 0));
    // Each piece starts where the one before it ends.
    expect(Number(pieces[1]?.[1])).toBeCloseTo(Number(pieces[0]?.[1]) + (widths[0] as number), 0);
  });
});

function barOf(line: string): number {
  return (/[█▓▒]+$/.exec(line)?.[0] ?? '').length;
}
