import type { Place } from './places.mjs';

/** A change of a file of a package. */
export interface Mutant extends Place {
  /** From 1, over all files of the campaign. */
  readonly number: number;
  /** Relative to the package. */
  readonly file: string;
  /** The line it is in. */
  readonly code: string;
}

/** What the tests made of a mutant. A run that ends the process counts as a kill. */
export interface MutantResult extends Mutant {
  readonly status: 'killed' | 'timed out' | 'survived';
  /** The test file that noticed. */
  readonly by?: string;
}

/** What to mutate, and how the tests run. */
export interface CampaignOptions {
  readonly packageFolder: string;
  readonly files: readonly string[];
  /** The mutants of these numbers alone. */
  readonly only?: readonly number[] | undefined;
  /** Test runs at a time, each in a copy of its own. */
  readonly jobs?: number;
  readonly env?: Readonly<Record<string, string>>;
  /** What a test file may take for a mutant, from what it takes without one. */
  readonly limitMs?: (usualMs: number) => number;
  readonly onResult?: (result: MutantResult) => void;
}

/** The mutants of `files`, in order, numbered. */
export function mutantsOf(packageFolder: string, files: readonly string[]): Mutant[];

/**
 * Runs the package's tests against each mutant, in copies: the package itself is only read.
 * @throws Error if a test fails without any mutant
 */
export function runCampaign(options: CampaignOptions): Promise<MutantResult[]>;
