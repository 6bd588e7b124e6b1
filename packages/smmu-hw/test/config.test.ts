/** What can be configured, and what an instance cannot be made of. */
import { describe, expect, test } from '@jest/globals';
import { isLabError } from '@iommu-lab/machine';
import { OPEN_POINTS, resolveConfig, resolveReadings, type MsmSmmuConfig } from '../src/index.ts';

describe('configuration', () => {
  test('what is not given has a default', () => {
    expect(resolveConfig({ name: 'jpegd', contextBanks: 2 })).toMatchObject({
      streams: 32,
      tlbEntries: 64,
      tlbWays: 4,
      tlbReplacement: 'round-robin',
      fetchBlocks: 0,
      revision: 0,
      traceAccesses: false,
      readings: resolveReadings(),
    });
  });

  test('what is given as undefined is not given', () => {
    const least = { name: 'jpegd', contextBanks: 2 };
    const optional = Object.keys(resolveConfig(least)).filter((key) => !(key in least));
    expect(optional).toContain('streams');
    const nothing = Object.fromEntries(optional.map((key) => [key, undefined]));
    expect(resolveConfig({ ...least, ...nothing })).toEqual(resolveConfig(least));
  });

  test('what the register layout or the TLB cannot hold is EINVAL', () => {
    for (const wrong of [
      { contextBanks: 0 },
      { contextBanks: 256 },
      { contextBanks: 1.5 },
      { streams: 0 },
      { streams: 513 },
      { tlbEntries: 0 },
      { tlbEntries: 512 },
      { tlbEntries: 60, tlbWays: 4 },
      { tlbEntries: 4, tlbWays: 8 },
      { fetchBlocks: -1 },
      { fetchBlocks: 17 },
      { tlbReplacement: 'oldest' as never },
      { revision: -1 },
      { revision: 256 },
      { revision: 1.5 },
      { revision: NaN },
    ]) {
      expect([wrong, refusal(wrong)]).toEqual([wrong, 'EINVAL']);
    }
  });

  test('the largest instance there can be is taken', () => {
    const largest = { contextBanks: 255, streams: 512, tlbEntries: 256, tlbWays: 1, fetchBlocks: 16 };
    expect(refusal({ ...largest, revision: 255 })).toBe('none');
  });
});

describe('readings', () => {
  test('every open point has a default, other values, and a meaning for each', () => {
    for (const [name, point] of Object.entries(OPEN_POINTS)) {
      expect(point.values.length).toBeGreaterThan(1);
      expect(new Set<string | number>(point.values).size).toBe(point.values.length);
      expect([name, point.meanings.length]).toEqual([name, point.values.length]);
    }
  });

  test('what is not chosen is read as the default', () => {
    const readings = resolveReadings({ bypassDisable: 'ignored' });
    expect(readings).toEqual({ ...resolveReadings(), bypassDisable: 'ignored' });
    expect(resolveReadings().bypassDisable).toBe('global-error');
  });

  test('a name or a value that is none is EINVAL', () => {
    expect(refusal({ readings: { colour: 'blue' } as never })).toBe('EINVAL');
    expect(refusal({ readings: { toString: 'blue' } as never })).toBe('EINVAL');
    expect(refusal({ readings: { bypassDisable: 'perhaps' as never } })).toBe('EINVAL');
    expect(refusal({ readings: { resumeTerminates: 2 as never } })).toBe('EINVAL');
  });
});

/** The code with which a configuration is refused. */
function refusal(config: Partial<MsmSmmuConfig>): string {
  try {
    resolveConfig({ name: 'jpegd', contextBanks: 2, ...config });
  } catch (error) {
    return isLabError(error, 'EINVAL') ? 'EINVAL' : String(error);
  }
  return 'none';
}
