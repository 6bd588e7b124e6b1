import { expect, test } from '@jest/globals';
import { median, summarize } from '../src/statistics.ts';

test('the median is the middle one, whatever the order', () => {
  expect(median([9, 1, 5])).toBe(5);
  expect(median([10, 9, 2, 1])).toBe(5.5);
  expect(median([100, 20, 3])).toBe(20); // by value, not as text
  expect(() => median([])).toThrow('no median');
});

test('a summary has the ends too, and leaves its argument alone', () => {
  const values = [3, 1, 2];
  expect(summarize(values)).toEqual({ least: 1, median: 2, most: 3 });
  expect(values).toEqual([3, 1, 2]);
});
