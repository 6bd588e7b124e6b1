/** What is used of Stryker's runner for Jest. */
export interface InnerRunner {
  capabilities(): unknown;
  init(): Promise<void>;
  dryRun(options: unknown): Promise<unknown>;
  mutantRun(options: { readonly sandboxFileName: string }): Promise<MutantRunResult>;
  /** Called by the other two. */
  run(settings: Readonly<Record<string, unknown>>): Promise<{
    readonly dryRunResult: { readonly tests?: readonly { readonly id: string }[] };
  }>;
}

/** Stryker's, as far as it matters here. */
export interface MutantRunResult {
  readonly status: string;
  readonly nrOfTests?: number;
}

/**
 * Runs the tests against a mutant one file after the other: those first that find most, and none after the one that
 * noticed. Jest itself cannot stop at a failure when it is called as a function.
 */
export class RunnerByFile {
  constructor(inner: InnerRunner);
  capabilities(): unknown;
  init(): Promise<void>;
  dryRun(options: unknown): Promise<unknown>;
  /** @param options `testFilter`: the tests that reach the mutant, if that is known */
  mutantRun(options: {
    readonly sandboxFileName: string;
    readonly testFilter?: readonly string[];
  }): Promise<MutantRunResult>;
  dispose(): Promise<void>;
}
