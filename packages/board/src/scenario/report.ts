/** What a run tells: the report's shape and its schema. Everything in it repeats with the seed; no wall clock. */
import * as z from 'zod';

/** How a run went, as `report.json` has it. */
export interface Report {
  readonly schemaVersion: 1;
  readonly scenario: string;
  readonly board: string;
  readonly seed: number;
  /** Everything that should work worked, and everything that should be stopped was stopped. */
  readonly ok: boolean;
  /** Model time at the end. */
  readonly modelTimeNs: number;
  readonly steps: readonly StepReport[];
  readonly iommus: readonly IommuReport[];
  readonly faults: readonly ExplainedFault[];
  /** File names of what the steps left: pictures and streams. */
  readonly artifacts: readonly string[];
}

/** How one step went. */
export interface StepReport {
  readonly do: string;
  /** What it did, in a line. */
  readonly title: string;
  readonly ok: boolean;
  /** What came of it. */
  readonly results: readonly string[];
  /** What is wrong; empty when ok. */
  readonly problems: readonly string[];
}

/** What one IOMMU did in the whole run; plain counts but for the bytes. */
export interface IommuReport {
  readonly provider: string;
  /** Calls of map and unmap that reached this IOMMU. */
  readonly maps: number;
  readonly unmaps: number;
  /** Most bytes its page tables occupied. */
  readonly tableBytesPeak: number;
  readonly tlbHits: number;
  readonly tlbMisses: number;
  readonly walks: number;
  readonly invalidations: number;
  readonly faults: number;
}

/** An access that was stopped. */
export interface ExplainedFault {
  /** Index of the step it happened in. */
  readonly step: number;
  readonly device: string;
  readonly provider: string;
  readonly context: string;
  /** Hexadecimal. */
  readonly iova: string;
  readonly direction: 'read' | 'write';
  readonly cause: string;
  /** Why, in a word: `beyond-end`, `permission`, `unmapped-before`, ... */
  readonly conclusion: string;
  /** Why, in full. */
  readonly explanation: string;
}

const whole = z.int().min(0);

/** The report as a JSON Schema source; its text form is published with the command line. */
export const ReportSchema: z.ZodType<Report> = z.strictObject({
  schemaVersion: z.literal(1).describe('version of this format'),
  scenario: z.string().describe('name of the scenario'),
  board: z.string().describe('name of the board it was played on'),
  seed: whole.describe('seed it was played with'),
  ok: z.boolean().describe('what should work worked, and what should be stopped was stopped'),
  modelTimeNs: whole.describe('model time at the end, nanoseconds'),
  steps: z
    .array(
      z.strictObject({
        do: z.string().describe('kind of step'),
        title: z.string().describe('what it did'),
        ok: z.boolean(),
        results: z.array(z.string()).describe('what came of it'),
        problems: z.array(z.string()).describe('what is wrong; empty when ok'),
      }),
    )
    .describe('in order'),
  iommus: z
    .array(
      z.strictObject({
        provider: z.string(),
        maps: whole.describe('calls of map that reached this IOMMU'),
        unmaps: whole,
        tableBytesPeak: whole.describe('most bytes its page tables occupied'),
        tlbHits: whole,
        tlbMisses: whole,
        walks: whole,
        invalidations: whole.describe('invalidation writes'),
        faults: whole,
      }),
    )
    .describe('every IOMMU of the board'),
  faults: z
    .array(
      z.strictObject({
        step: whole.describe('index of the step it happened in'),
        device: z.string().describe('who issued it'),
        provider: z.string().describe('the IOMMU'),
        context: z.string().describe('the context of the IOMMU, or none'),
        iova: z.string().describe('hexadecimal'),
        direction: z.enum(['read', 'write']),
        cause: z.string().describe('what the hardware said'),
        conclusion: z.string().describe('why, in a word'),
        explanation: z.string().describe('why, in full'),
      }),
    )
    .describe('every access that was stopped, in order'),
  artifacts: z.array(z.string()).describe('file names of what the steps left'),
});
