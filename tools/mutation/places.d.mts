/** One change of one place. */
export interface Place {
  /** Characters replaced: from, up to. */
  readonly start: number;
  readonly end: number;
  /** From 1, as editors count. */
  readonly line: number;
  readonly column: number;
  readonly before: string;
  /** Empty: the characters go. */
  readonly after: string;
}

/**
 * The changes that Stryker does not try: bit operators and their assignment forms, `~`, masks (literals in base 16, 8
 * or 2, or beside a bit operator: one bit less at either end, one more at either end), shift counts (one up, one down)
 * and other whole numbers (one up). In the order of the text.
 */
export function placesIn(fileName: string, text: string): Place[];

/** `text` with that one change. */
export function mutated(text: string, place: Place): string;
