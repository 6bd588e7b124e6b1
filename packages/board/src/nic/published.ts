/**
 * What others have measured, and the same figure of a run here. Quoted is only what the source says in so many words or numbers;
 * the machines differ from ours and from each other, so that the order of magnitude is what can be compared.
 */
import { CPU_PARTS, cyclesOf, type NicCost, type NicCostPart } from './cost-model.ts';
import type { NicMode } from './play.ts';

/** Costs of the four ways. */
export type NicCosts = Readonly<Record<NicMode, NicCost>>;

/** A figure that somebody has published. */
export interface PublishedFigure {
  readonly what: string;
  readonly here: (costs: NicCosts) => string;
  readonly published: string;
  readonly source: keyof typeof PUBLISHED_SOURCES;
}

export const PUBLISHED_SOURCES = {
  1: 'Malka, Amit, Ben-Yehuda, Tsafrir: rIOMMU, ASPLOS 2015, Table 1 (VT-d, cycles)',
  2: 'the same, abstract ("the throughput of I/O-intensive workloads")',
  3: 'D. Woodhouse: Linux commit acea0018a24b, 2009 (VT-d, a comment)',
  4: 'N. A. Abdul: iommu: Default to lazy DMA mode on ARM64, linux-iommu, 2 April 2026 (Arm SMMU, iperf3)',
  5: 'Markuze, Morrison, Tsafrir: True IOMMU Protection from DMA Attacks, ASPLOS 2016, abstract (40 Gb/s)',
} as const;

const CALLS: readonly NicCostPart[] = ['map/unmap', 'invalidation'];

/** In the order of the report. Throughput is that of a CPU which is busy with packets. */
export const PUBLISHED: readonly PublishedFigure[] = [
  {
    what: 'map, unmap, invalidation: strict to deferred',
    here: ({ strict, deferred }) => times(cyclesOf(strict, CALLS), cyclesOf(deferred, CALLS)),
    published: '1.93x, 2.25x',
    source: 1,
  },
  {
    what: 'invalidation, of these in strict mode',
    here: ({ strict }) => percent(strict.invalidation, cyclesOf(strict, CALLS)),
    published: '56 %, 28 %',
    source: 1,
  },
  {
    what: 'invalidation, of all CPU time in strict mode',
    here: ({ strict }) => percent(strict.invalidation, cyclesOf(strict, CPU_PARTS)),
    published: '"1/6th"',
    source: 3,
  },
  {
    what: 'throughput, direct to strict',
    here: ({ strict, direct }) => throughput(direct, strict),
    published: '"up to an order of magnitude"',
    source: 2,
  },
  {
    what: 'throughput, deferred to strict',
    here: ({ strict, deferred }) => throughput(deferred, strict),
    published: '2.67x',
    source: 4,
  },
  {
    what: 'throughput, copied to strict',
    here: ({ strict, bounce }) => throughput(bounce, strict),
    published: '"up to 5x"',
    source: 5,
  },
  {
    what: 'throughput lost by copying, against direct',
    here: ({ direct, bounce }) =>
      percent(cyclesOf(bounce, CPU_PARTS) - cyclesOf(direct, CPU_PARTS), cyclesOf(bounce, CPU_PARTS)),
    published: '"0%-25%"',
    source: 5,
  },
];

function throughput(of: NicCost, to: NicCost): string {
  return times(cyclesOf(to, CPU_PARTS), cyclesOf(of, CPU_PARTS));
}

function times(a: number, b: number): string {
  return b === 0 ? '-' : `${(a / b).toFixed(2)}x`;
}

function percent(part: number, whole: number): string {
  return whole === 0 ? '-' : `${((part / whole) * 100).toFixed(0)} %`;
}
