/**
 * Every step of every call, on every way, is made to fail once: nothing stays mapped, taken or bounced, the device reaches
 * what it reached, and the call works the next time. Giving back can fail nowhere.
 */
import { describe, expect, test } from '@jest/globals';
import { SWEPT_CALLS, SWEPT_WAYS } from './fail-nth/calls.ts';
import { sweep } from './fail-nth/sweep.ts';
import { SWEPT_SITES } from './fail-nth/swept-sites.ts';

describe.each(SWEPT_WAYS)('$name', (way) => {
  test.each(SWEPT_CALLS.filter(({ isOn }) => isOn?.(way) !== false))(
    '$name: a step that fails leaves everything as it was',
    (call) => {
      const sites = SWEPT_SITES[way.name]?.[call.group] ?? [];
      expect(sweep(call, way)).toEqual([...new Set(sites)].sort());
    },
  );
});
