/**
 * What an IOMMU costs a NIC: the same packets with four ways of doing DMA, each on a system of its own; what happened, what that
 * costs at given prices, what a device could still reach, and what others have measured.
 */
import { type BarChart, renderBars } from '../../nic/bar-chart.ts';
import { renderBarsSvg } from '../../nic/bar-chart-svg.ts';
import { costOf, NIC_COST_PARTS } from '../../nic/cost-model.ts';
import type { LateWrite } from '../../nic/late-write.ts';
import { NIC_MODES, type NicMode, type NicRun, playNic } from '../../nic/play.ts';
import type { NicCosts } from '../../nic/published.ts';
import type { NicStep } from '../schema.ts';
import type { Job, JobContext } from './job.ts';
import { costTable, countTable, publishedTable, reachTable } from './nic-tables.ts';

/** Columns of a terminal, less what a result is indented by. */
const CHART_COLUMNS = 72;

/** What a late write must come to. A stale entry may have left the TLB before the flush: with deferred invalidation both is right. */
const EXPECTED: Readonly<Record<NicMode, Readonly<Record<'atOnce' | 'later', readonly LateWrite[]>>>> = {
  direct: { atOnce: ['overwritten'], later: ['overwritten'] },
  strict: { atOnce: ['stopped'], later: ['stopped'] },
  deferred: { atOnce: ['overwritten', 'stopped'], later: ['stopped'] },
  bounce: { atOnce: ['elsewhere'], later: ['elsewhere'] },
};

/** @throws LabError ENODEV when the board has no IOMMU context to spare; ENOMEM, ENOSPC */
export function* nic({ seed, makeSystem }: JobContext, step: NicStep): Job {
  const runs: NicRun[] = [];
  for (const mode of NIC_MODES) {
    yield mode;
    runs.push(playNic(mode, { seed, ...step }, makeSystem));
  }
  const problems = runs.flatMap((run) => problemsOf(run).map((problem) => `${run.mode}: ${problem}`));
  const costs = Object.fromEntries(
    runs.map(({ mode, counts }) => [mode, costOf(counts, step.costs)]),
  ) as NicCosts;
  const chart: BarChart = {
    title: 'modelled cycles a packet',
    parts: NIC_COST_PARTS,
    bars: NIC_MODES.map((mode) => ({ label: mode, values: NIC_COST_PARTS.map((part) => costs[mode][part]) })),
  };
  return {
    title: `a NIC${step.coherent ? ' that snoops the cache' : ''} receives ${step.packets} packets of ${step.packetBytes} bytes and sends as many, four ways of doing DMA`,
    results: [
      ...(problems.length === 0 ? ['every packet came through, byte for byte, in each'] : []),
      countTable(runs),
      costTable(costs),
      renderBars(chart, CHART_COLUMNS),
      reachTable(runs, step.packetNs),
      publishedTable(costs),
    ],
    problems,
    artifacts: [{ name: 'nic.svg', kind: 'text', text: renderBarsSvg(chart) }],
  };
}

function problemsOf({ mode, lateWrites, problems }: NicRun): readonly string[] {
  if (lateWrites === undefined) return problems;
  const wrong = (['atOnce', 'later'] as const).filter(
    (when) => !EXPECTED[mode][when].includes(lateWrites[when]),
  );
  return [
    ...problems,
    ...wrong.map(
      (when) =>
        `a late write (${when}) is ${lateWrites[when]}; expected ${EXPECTED[mode][when].join(' or ')}`,
    ),
  ];
}
