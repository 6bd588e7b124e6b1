/** One thing that is measured, as a bench file describes it. */

/** A case as it runs in a process of its own. */
export interface PreparedCase {
  /** Does the case's operations. @returns a checksum of their results, the same every time. */
  run(): number;
  /** The same work as plain a loop as JavaScript has, to compare with in the same process. */
  plain?(): number;
  /** Brings back what `run` found. Its time and its allocation do not count; absent where every run finds the same. */
  undo?(): void;
  /** Looks at what the operations result in, one by one. @throws Error on a result that is wrong. */
  verify(): void;
  /** Counters that say what work was done; what `run` adds to them is compared with `expected`. */
  counters?(): Readonly<Record<string, number>>;
  /** What one `run` adds to the counters. */
  readonly expected?: Readonly<Record<string, number>>;
}

/** The same case natively: a program of `floor/`, and its arguments before the milliseconds. */
export interface FloorCase {
  readonly program: string;
  readonly args: readonly string[];
}

/** What the case should reach. Reported, and never a failure: time is no test. */
export type Target =
  /** At most so many times the yardstick: the native program, or the plain loop. */
  | { readonly kind: 'yardstick'; readonly most: number }
  /** At most so many times another case, which stands before this one. */
  | { readonly kind: 'case'; readonly name: string; readonly most: number }
  /** At most so many nanoseconds per operation, on the machine the project is measured on. */
  | { readonly kind: 'ns'; readonly most: number }
  /** At most so many bytes allocated per operation. */
  | { readonly kind: 'bytes'; readonly most: number };

/** A case. */
export interface BenchCase {
  readonly name: string;
  /** Operations that one `run` does: as many as take about a millisecond, so that the clock does not count. */
  readonly operations: number;
  readonly floor?: FloorCase;
  readonly targets?: readonly Target[];
  /** Makes what the case works on. Nothing in here is timed. */
  prepare(): PreparedCase;
}

/** A case, checked by the compiler where it is written. */
export function benchCase(definition: BenchCase): BenchCase {
  return definition;
}
