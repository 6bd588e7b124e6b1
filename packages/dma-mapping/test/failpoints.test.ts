/** Nothing is taken without a failpoint on the way, and no failpoint is without a test that fires it. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from '@jest/globals';
import { ALL_SWEPT_SITES } from './fail-nth/swept-sites.ts';
import { TAKING, TAKING_CALLS } from './fail-nth/taking-calls.ts';

const SRC = fileURLToPath(new URL('../src', import.meta.url));
/** Hands each call on to the operations under it. */
const PASSES_ON = ['debug/', 'calls/device-ops.ts'];

/** The sources by path, without comments and spaces. */
const sources: readonly (readonly [string, string])[] = readdirSync(SRC, {
  recursive: true,
  encoding: 'utf8',
})
  .map((path) => path.replaceAll('\\', '/'))
  .filter((path) => path.endsWith('.ts'))
  .sort()
  .map((path) => [path, withoutComments(readFileSync(join(SRC, path), 'utf8')).replaceAll(/\s+/g, '')]);

function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/(^|\s)\/\/.*$/gm, '');
}

/** `file call`, once for each place that takes something. */
function placesInSources(): readonly string[] {
  return sources
    .filter(([path]) => !PASSES_ON.some((prefix) => path.startsWith(prefix)))
    .flatMap(([path, text]) =>
      TAKING.flatMap((pattern) => [...text.matchAll(pattern)].map(([call]) => `${path} ${call}`)),
    )
    .sort();
}

const failpoints: readonly string[] = [
  ...new Set(
    sources.flatMap(([, text]) => [...text.matchAll(/\.fail\('([^']+)'/g)].map(([, site]) => site as string)),
  ),
].sort();

describe('failpoints', () => {
  test('stand on the way to every place that takes something', () => {
    const known = TAKING_CALLS.flatMap(({ file, call, times }) =>
      Array.from({ length: times }, () => `${file} ${call}`),
    ).sort();
    expect(placesInSources()).toEqual(known);
  });

  test('of the table fire in the sweep, and a place without one says why', () => {
    for (const place of TAKING_CALLS) {
      const dead = place.failpoints.filter((site) => !ALL_SWEPT_SITES.has(site));
      expect({ ...place, dead }).toEqual({ ...place, dead: [] });
      expect(place.failpoints.length > 0 || place.because !== undefined).toBe(true);
    }
  });

  test('of the sources all fire in the sweep, and are named after the package', () => {
    expect(failpoints.length).toBeGreaterThan(0);
    expect(failpoints.filter((site) => !ALL_SWEPT_SITES.has(site))).toEqual([]);
    expect(failpoints.filter((site) => !site.startsWith('dma-mapping.'))).toEqual([]);
    const own = [...ALL_SWEPT_SITES].filter((site) => site.startsWith('dma-mapping.'));
    expect(own.sort()).toEqual(failpoints);
  });
});
