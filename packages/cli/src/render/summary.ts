/** The summary of a run, for people. */
import { stripVTControlCharacters, styleText } from 'node:util';
import { type IommuReport, type Report, type StepReport, textTable } from '@iommu-lab/board';

/** What a summary tells that is not in the report. */
export interface SummaryContext {
  readonly wallMs: number;
  readonly folder: string;
  /** Names of what was written there. */
  readonly files: readonly string[];
  /** Columns of the terminal; undefined where lines may be of any length. */
  readonly columns?: number | undefined;
}

/** The summary as text that ends with a line feed; coloured where standard output takes colours. */
export function renderSummary(report: Report, { wallMs, folder, files, columns }: SummaryContext): string {
  const { scenario, board, seed, steps, iommus, modelTimeNs } = report;
  const busy = iommus.filter((iommu) => iommu.maps + iommu.tlbHits + iommu.faults > 0);
  const idle = iommus.length - busy.length;
  const lines = [
    `${strong(scenario)}  (board ${board}, seed ${seed})`,
    '',
    ...steps.map(renderStep),
    ...(busy.length > 0 ? [iommuTable(busy)] : []),
    ...(busy.length > 0 && idle > 0 ? [`${idle} more IOMMU(s) had nothing to do.\n`] : []),
    `${verdict(report)}  ${(modelTimeNs / 1e6).toFixed(2)} ms of model time, ${(wallMs / 1000).toFixed(2)} s.`,
    `Written to ${folder}: ${fileList(files)}`,
    '',
  ].join('\n');
  return columns === undefined ? lines : lines.replace(/^.+$/gm, (line) => wrap(line, columns));
}

function renderStep(step: StepReport): string {
  const mark = step.ok ? styleText('green', 'ok    ') : styleText('red', 'FAILED');
  return [
    `${mark}  ${step.title}`,
    ...step.results.map((text) => indent(text)),
    ...step.problems.map((text) => indent(styleText('red', `problem: ${text}`))),
    '',
  ].join('\n');
}

function iommuTable(iommus: readonly IommuReport[]): string {
  const head = [
    'IOMMU',
    'maps',
    'unmaps',
    'table bytes',
    'hits',
    'misses',
    'walks',
    'invalidations',
    'faults',
  ];
  const rows = iommus.map((row) => [
    row.provider,
    ...[
      row.maps,
      row.unmaps,
      row.tableBytesPeak,
      row.tlbHits,
      row.tlbMisses,
      row.walks,
      row.invalidations,
      row.faults,
    ].map(String),
  ]);
  return textTable([head, ...rows], { right: [1, 2, 3, 4, 5, 6, 7, 8] });
}

function verdict({ ok, steps, faults }: Report): string {
  if (!ok)
    return styleText('red', `${steps.filter((step) => !step.ok).length} of ${steps.length} steps failed.`);
  const stopped = faults.length === 0 ? '' : `, ${faults.length} access(es) stopped and explained`;
  const all =
    steps.length === 1 ? 'The step is as it should be' : `All ${steps.length} steps as they should be`;
  return styleText('green', `${all}${stopped}.`);
}

/** `frame-0000.png .. frame-0009.png` for a long run of frames, the rest by name. */
function fileList(files: readonly string[]): string {
  const frames = files.filter((name) => name.startsWith('frame-'));
  const others = files.filter((name) => !name.startsWith('frame-'));
  const shown = frames.length > 2 ? [`${frames[0]} .. ${frames.at(-1)}`] : frames;
  return [...shown, ...others].join(', ');
}

function strong(text: string): string {
  return styleText('bold', text);
}

function indent(text: string): string {
  return text.replace(/^(?=.)/gm, '        ');
}

/** Breaks a long line between words; what follows stands under the line's text, behind its label if it has one. */
function wrap(line: string, columns: number): string {
  const plain = stripVTControlCharacters(line);
  const hang = /^ *(?:\S+ {2,})?/.exec(plain)?.[0].length ?? 0;
  const rows: string[] = [];
  let rest = line;
  // Colours take no columns; they stand in a line's first row.
  let width = columns + line.length - plain.length;
  while (rest.length > width) {
    const space = rest.lastIndexOf(' ', width);
    if (space <= hang) break; // one long word
    rows.push(rest.slice(0, space).trimEnd());
    rest = ' '.repeat(hang) + rest.slice(space).trimStart();
    width = columns;
  }
  return [...rows, rest].join('\n');
}
