/** A run as people read it: on the terminal, and as a Markdown file. */
import type { Machine } from './machine.ts';
import { judge, ratioOf, type CaseResult, type FailedCase, type MeasuredCase } from './result.ts';
import { markdownTable, plainTable, type Column } from './table.ts';

/** A whole run. */
export interface Report {
  readonly packageName: string;
  readonly machine: Machine;
  readonly processes: number;
  readonly milliseconds: number;
  readonly cases: readonly CaseResult[];
}

/** For the terminal. */
export function terminalReport(report: Report): string {
  const lines = [`${report.packageName}: ${conditions(report)}`, ''];
  for (const group of groupsOf(report)) lines.push(...plainTable(group.columns, group.rows), '');
  for (const { name, error } of failures(report)) lines.push(`FAILED ${name}`, error, '');
  return lines.join('\n');
}

/** For a file beside the sources. */
export function markdownReport(report: Report): string {
  const lines = [
    `# Benchmarks of ${report.packageName}`,
    '',
    `Written by \`lab-bench --markdown\`: ${conditions(report)}.`,
    '',
    'Ratios are what to look at; nanoseconds are those of one machine on one day. What a column means, and how it is',
    'measured, says the README of `tools/bench`.',
    '',
  ];
  for (const group of groupsOf(report)) {
    lines.push(`## ${group.title}`, '', ...markdownTable(group.columns, group.rows), '');
  }
  for (const { name, error } of failures(report)) lines.push(`**Failed:** ${name}: ${error}`, '');
  return `${lines.join('\n').trimEnd()}\n`;
}

/** How much, as short as makes sense. */
export function formatNumber(value: number): string {
  if (value === 0) return '0';
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return value.toFixed(digits);
}

interface Group {
  readonly title: string;
  readonly columns: readonly Column[];
  readonly rows: readonly (readonly string[])[];
}

const TITLES = {
  C: 'Beside the same work in C',
  'plain loop': 'Beside a plain loop in JavaScript',
  none: 'By themselves',
} as const;

function groupsOf(report: Report): readonly Group[] {
  return (['C', 'plain loop', 'none'] as const).flatMap((yardstick) => {
    const cases = report.cases.filter(
      (result): result is MeasuredCase => result.error === undefined && result.yardstick === yardstick,
    );
    if (cases.length === 0) return [];
    const rows = cases.map((result) => rowOf(result, report.cases));
    const columns = columnsOf(yardstick);
    const kept = columns.map((column, i) => column !== undefined || i);
    return [
      {
        title: TITLES[yardstick],
        columns: columns.filter((column) => column !== undefined),
        rows: rows.map((cells) => cells.filter((_, i) => kept[i] === true)),
      },
    ];
  });
}

function columnsOf(yardstick: MeasuredCase['yardstick']): readonly (Column | undefined)[] {
  const right = (heading: string): Column => ({ heading, align: 'right' });
  const isCompared = yardstick !== 'none';
  return [
    { heading: 'case', align: 'left' },
    right('ns'),
    right('least..most'),
    isCompared ? right(`ns, ${yardstick}`) : undefined,
    isCompared ? right('ratio') : undefined,
    right('bytes'),
    { heading: 'target', align: 'left' },
  ];
}

function rowOf(result: MeasuredCase, all: readonly CaseResult[]): readonly string[] {
  const ratio = ratioOf(result);
  const missing = result.yardstick === 'C' ? 'no cc' : '';
  return [
    result.name,
    formatNumber(result.ns.median),
    `${formatNumber(result.ns.least)}..${formatNumber(result.ns.most)}`,
    result.yardstickNs === undefined ? missing : formatNumber(result.yardstickNs.median),
    ratio === undefined ? missing : ratio.toFixed(2),
    formatNumber(result.bytes),
    judge(result, all)
      .map(({ text, isMet }) => `${text}: ${isMet === undefined ? 'not measured' : isMet ? 'met' : 'missed'}`)
      .join(', '),
  ];
}

function failures(report: Report): readonly FailedCase[] {
  return report.cases.filter((result): result is FailedCase => result.error !== undefined);
}

function conditions({ machine, processes, milliseconds }: Report): string {
  const compiler = machine.compiler ?? 'no C compiler, so no ratios to C';
  return `${machine.cpu}, ${machine.cores} cores, Node ${machine.node}, ${compiler}; medians of ${processes} processes, ${milliseconds} ms each`;
}
