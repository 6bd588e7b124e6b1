/**
 * `text` with blanks in the place of `as T` and `satisfies T`: every character stays where it was. Stryker prints an
 * expression such as `a | (b as number) | c` without the parentheses it needs.
 */
export function withoutAssertions(fileName: string, text: string): string;
