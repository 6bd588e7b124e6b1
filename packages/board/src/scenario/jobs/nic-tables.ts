/** The tables of a `nic` step. */
import { cyclesOf, IOMMU_PARTS, NIC_COST_PARTS, type NicCost, type NicCounts } from '../../nic/cost-model.ts';
import { NIC_MODES, type NicRun } from '../../nic/play.ts';
import { type NicCosts, PUBLISHED, PUBLISHED_SOURCES } from '../../nic/published.ts';
import { textTable } from '../text-table.ts';

const RIGHT = { right: [1, 2, 3, 4] };

const COUNT_ROWS: readonly (readonly [string, keyof NicCounts])[] = [
  ['buffers unmapped', 'unmaps'],
  ['entries of page tables stored', 'tableStores'],
  ['invalidations', 'invalidations'],
  ['IOVAs from a magazine', 'iovasCached'],
  ['IOVAs from the tree', 'iovasTree'],
  ['cache lines cleaned or invalidated', 'cacheLines'],
  ['bounce buffers', 'bounceSlots'],
  ['bytes copied', 'copiedBytes'],
  ['TLB hits of the NIC', 'tlbHits'],
  ['TLB misses', 'tlbMisses'],
  ['descriptors read by walks', 'walkReads'],
];

/** What happened, a packet. */
export function countTable(runs: readonly NicRun[]): string {
  const rows = COUNT_ROWS.map(([label, key]) => [
    label,
    ...runs.map(({ counts }) => perPacket(counts[key], counts.packets)),
  ]);
  return textTable([['a packet', ...runs.map(({ mode }) => mode)], ...rows], RIGHT);
}

/** What that costs, in cycles a packet. */
export function costTable(costs: NicCosts): string {
  const { direct } = costs;
  const row = (label: string, cell: (cost: NicCost) => string): string[] => [
    label,
    ...NIC_MODES.map((mode) => cell(costs[mode])),
  ];
  return textTable(
    [
      ['modelled cycles a packet', ...NIC_MODES],
      ...NIC_COST_PARTS.map((part) => row(part, (cost) => cost[part].toFixed(0))),
      row('all', (cost) => cyclesOf(cost).toFixed(0)),
      row('all, to direct', (cost) => `${(cyclesOf(cost) / cyclesOf(direct)).toFixed(2)}x`),
      row('of it for the IOMMU', (cost) => cyclesOf(cost, IOMMU_PARTS).toFixed(0)),
    ],
    RIGHT,
  );
}

/** What the device could still reach. */
export function reachTable(runs: readonly NicRun[], packetNs: number): string {
  const row = (label: string, cell: (run: NicRun) => string): string[] => [label, ...runs.map(cell)];
  return textTable(
    [
      ['after an unmap', ...runs.map(({ mode }) => mode)],
      row('the device writes again at once', ({ lateWrites }) => lateWrites?.atOnce ?? '-'),
      row('and after a flush', ({ lateWrites }) => lateWrites?.later ?? '-'),
      row('flushes', ({ window }) => (window === undefined ? '-' : String(window.flushes))),
      row('longest window, ns', ({ window }) => (window === undefined ? '-' : String(window.longestNs))),
      row('packets that arrive meanwhile', ({ window }) =>
        window === undefined ? '-' : String(Math.floor(window.longestNs / packetNs)),
      ),
      row('buffers that could be hit, on average', ({ window }) =>
        window === undefined ? '-' : window.meanReachable.toFixed(0),
      ),
    ],
    RIGHT,
  );
}

/** What others have measured. */
export function publishedTable(costs: NicCosts): string {
  const rows = PUBLISHED.map(({ what, here, published, source }) => [
    what,
    here(costs),
    `${published} [${source}]`,
  ]);
  const sources = Object.entries(PUBLISHED_SOURCES).map(([number, source]) => `[${number}]  ${source}`);
  return `${textTable([['', 'here', 'published'], ...rows], { right: [1] })}${sources.join('\n')}`;
}

/** Whole where it is large or none, else to two places. */
function perPacket(sum: number, packets: number): string {
  const value = sum / packets;
  if (value === 0) return '-';
  return value >= 100 ? value.toFixed(0) : value.toFixed(value < 0.1 ? 4 : 2);
}
