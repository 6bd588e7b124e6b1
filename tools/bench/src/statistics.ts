/** Of numbers: what the reports are made of. */

/** The middle one, or the mean of the two in the middle. @throws Error on no numbers. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new Error('no median of nothing');
  const sorted = [...values].sort((a, b) => a - b);
  const upper = sorted[sorted.length >> 1] as number;
  return sorted.length % 2 === 1 ? upper : ((sorted[(sorted.length >> 1) - 1] as number) + upper) / 2;
}

/** Smallest, median and largest. */
export interface Summary {
  readonly least: number;
  readonly median: number;
  readonly most: number;
}

/** @throws Error on no numbers. */
export function summarize(values: readonly number[]): Summary {
  return { least: Math.min(...values), median: median(values), most: Math.max(...values) };
}
