import { expect } from '@jest/globals';

/** `expect` by another name, for what is not a test itself. */
export function mustEqual(actual: unknown, expected: unknown): void {
  expect(actual).toEqual(expected);
}
