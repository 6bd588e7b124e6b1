/** An explanation as text: a headline, then one fact a line, aligned, without colours. */
import { hex } from '@iommu-lab/machine';
import type { Neighbour } from './fault-facts.ts';
import type { MappingRecord } from '../mapping/mapping-journal.ts';
import { formatProtection } from '../protection.ts';
import type { Conclusion, Explanation } from './explanation.ts';
import { makerText, quoted, rangeText, sizeText, timeText } from './words.ts';

const HEADLINES: Readonly<Record<Conclusion, string>> = {
  'never-mapped': 'never mapped',
  'unmapped-before': 'use after unmap',
  permission: 'the right is missing',
  'beyond-end': 'beyond the end of a mapping',
  'before-start': 'before the start of a mapping',
  'blocked-domain': 'the device is blocked',
  'not-routed': 'no context for the stream',
  'outside-aperture': 'outside the aperture',
  process: 'the process has no such page',
  'mapped-now': 'but the tables map it',
  hardware: 'a failure of the hardware or its tables',
};

/** Columns the labels take, with the indent. */
const LABEL_COLUMNS = 13;

/**
 * A multi-line text that tells what was attempted, what stood there and what would have made it legal.
 * Ends without a line feed.
 */
export function formatExplanation(explanation: Explanation): string {
  const { fault, conclusion, mapping, summary, hints, remedies } = explanation;
  const who = fault.device ?? `stream ${fault.streamId}`;
  const headline =
    conclusion === 'mapped-now' && mapping === undefined ? 'mapped too late' : HEADLINES[conclusion];
  return [
    `${who}: ${fault.direction} at ${hex(fault.iova)} refused: ${headline}`,
    ...block('because', [summary]),
    ...block('remedy', remedies),
    ...block('hint', hints),
    ...block('fault', [faultLine(explanation)]),
    ...block('path', [pathLine(explanation)]),
    ...block('walk', walkLines(explanation)),
    ...mappingLines(explanation),
    ...block('registers', registerLines(explanation)),
  ].join('\n');
}

function faultLine({ fault }: Explanation): string {
  const words = [`number ${fault.id}, reported at ${timeText(fault.ns)}, cause: ${fault.cause}`];
  if (fault.isStalled) words.push('the access waits');
  if (fault.isMultiple) words.push('further faults were lost');
  return words.join('; ');
}

function pathLine({ fault, instance, domainKind }: Explanation): string {
  const steps = [`stream ${fault.streamId}`];
  steps.push(`${fault.context === undefined ? 'no context' : `context ${fault.context}`} of ${instance}`);
  if (fault.domain !== undefined)
    steps.push(`domain ${fault.domain}${domainKind === fault.domain ? '' : ` (${domainKind})`}`);
  return steps.join(' -> ');
}

function walkLines({ walk }: Explanation): readonly string[] {
  const columns = Math.max(0, ...walk.map((step) => step.level.length));
  return walk.map(
    (step) => `${step.level.padEnd(columns)}  ${hex(step.address)}: ${hex(step.descriptor)}  ${step.meaning}`,
  );
}

/** What the journal knows, in columns: range, rights, who; then what makes the row matter. */
function mappingLines(explanation: Explanation): readonly string[] {
  if (explanation.domainKind !== 'paging') return [];
  const rows = mappingRows(explanation);
  const width = (of: (record: MappingRecord) => string): number =>
    Math.max(0, ...rows.map(({ record }) => (record === undefined ? 0 : of(record).length)));
  const [ranges, rights, makers] = [width(rangeText), width(rightsOf), width(makerText)];
  return rows.flatMap(({ label, record, detail }) => {
    if (record === undefined) return block(label, [detail]);
    const columns = [
      rangeText(record).padEnd(ranges),
      rightsOf(record).padEnd(rights),
      makerText(record).padEnd(makers),
    ];
    return block(label, [`${columns.join(' ')}  ${detail}`]);
  });
}

interface Row {
  readonly label: string;
  readonly record: MappingRecord | undefined;
  readonly detail: string;
}

function mappingRows(explanation: Explanation): readonly Row[] {
  const { fault, mapping, lacks, below, above, previous, later } = explanation;
  const offset = (record: MappingRecord): string => `offset ${hex(fault.iova - record.iova, 1)}`;
  const right = lacks === undefined ? 'has the right' : `lacks ${lacks}`;
  const rows: (Row | undefined)[] = [
    {
      label: 'mapping',
      record: mapping,
      detail: mapping
        ? `${offset(mapping)}, ${right}; ${mappedAt(mapping)}${widened(mapping)}`
        : 'none here when the fault was reported',
    },
    previous && {
      label: 'was',
      record: previous,
      detail: `${offset(previous)}; ${mappedAt(previous)}, unmapped at ${timeText(previous.unmappedAtNs)} by ${quoted(previous.unmappedBy)}`,
    },
    later && { label: 'later', record: later, detail: `${offset(later)}; ${mappedAt(later)}` },
    { label: 'below', record: below?.mapping, detail: neighbourText(below) },
    { label: 'above', record: above?.mapping, detail: neighbourText(above) },
  ];
  return rows.flatMap((row) => row ?? []);
}

function neighbourText(neighbour: Neighbour | undefined): string {
  if (neighbour === undefined) return 'none';
  const { mapping, distanceBytes } = neighbour;
  return `${distanceBytes === 0 ? 'adjacent' : `${sizeText(distanceBytes)} away`}; ${mappedAt(mapping)}`;
}

function rightsOf({ protection }: MappingRecord): string {
  return formatProtection(protection);
}

function mappedAt({ atNs, buffer, sizeBytes }: MappingRecord): string {
  const part = buffer.sizeBytes > sizeBytes ? ` as part of ${rangeText(buffer)}` : '';
  return `mapped at ${timeText(atNs)}${part}`;
}

function widened({ requested }: MappingRecord): string {
  return requested === undefined ? '' : ` as ${formatProtection(requested)}, which this IOMMU cannot express`;
}

function registerLines({ fault }: Explanation): readonly string[] {
  const words = Object.entries(fault.registers).map(([name, value]) => `${name}=${hex(value)}`);
  const lines: string[] = [];
  for (let i = 0; i < words.length; i += 3) lines.push(words.slice(i, i + 3).join('  '));
  return lines;
}

function block(label: string, lines: readonly string[]): readonly string[] {
  return lines.map((line, i) => (i === 0 ? `  ${label}` : '').padEnd(LABEL_COLUMNS) + line);
}
