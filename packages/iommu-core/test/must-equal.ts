import { expect } from '@jest/globals';

/** `expect` by another name, for the branches of a model. */
export function mustEqual(actual: unknown, expected: unknown): void {
  expect(actual).toEqual(expected);
}
