import type { Mutant, MutantResult } from './campaign.mjs';

/** A mutant, with its result if it has one, in one line. */
export function mutantLine(mutant: Mutant | MutantResult): string;

/** Counts by file, as a Markdown table. */
export function scoreTable(results: readonly MutantResult[]): string;
