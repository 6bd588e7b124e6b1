/** What a run found out about one case, and whether that is what was aimed at. */
import type { Target } from './bench-case.ts';
import type { Summary } from './statistics.ts';

/** A case whose results were right, and how fast it was. */
export interface MeasuredCase {
  readonly name: string;
  readonly error?: undefined;
  /** Nanoseconds per operation, over the medians of the processes. */
  readonly ns: Summary;
  /** What it is compared with. */
  readonly yardstick: 'C' | 'plain loop' | 'none';
  /** Missing if it could not be measured. */
  readonly yardstickNs?: Summary;
  /** Allocated per operation. */
  readonly bytes: number;
  readonly targets: readonly Target[];
}

/** A case that did something else than it says. */
export interface FailedCase {
  readonly name: string;
  readonly error: string;
}

export type CaseResult = MeasuredCase | FailedCase;

/** A target in words, and whether it was met; undefined if what it needs was not measured. */
export interface TargetResult {
  readonly text: string;
  readonly isMet: boolean | undefined;
}

/** How many times the yardstick it takes. */
export function ratioOf(result: MeasuredCase): number | undefined {
  return result.yardstickNs === undefined ? undefined : result.ns.median / result.yardstickNs.median;
}

/** The targets of `result`; `all` has the cases they refer to. */
export function judge(result: MeasuredCase, all: readonly CaseResult[]): readonly TargetResult[] {
  return result.targets.map((target) => {
    switch (target.kind) {
      case 'yardstick':
        return atMost(`${target.most} x ${result.yardstick}`, target.most, ratioOf(result));
      case 'case': {
        const other = all.find(({ name }) => name === target.name);
        const ratio =
          other?.error === undefined && other !== undefined ? result.ns.median / other.ns.median : undefined;
        return atMost(`${target.most} x ${target.name}`, target.most, ratio);
      }
      case 'ns':
        return atMost(`${target.most} ns`, target.most, result.ns.median);
      case 'bytes':
        return atMost(`${target.most} B`, target.most, result.bytes);
    }
  });
}

function atMost(text: string, most: number, value: number | undefined): TargetResult {
  return { text: `<= ${text}`, isMet: value === undefined ? undefined : value <= most };
}
