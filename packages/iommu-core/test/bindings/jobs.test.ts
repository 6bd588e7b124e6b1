import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import type { FakeIommu } from '../fake-iommu.ts';
import { JOBS } from './jobs.ts';
import { makeSoc, stateOf, stylesOf } from './soc.ts';

const NAMES = stylesOf(makeSoc()).map((s) => s.name);

describe.each(NAMES)('%s', (name) => {
  test.each(JOBS.map((job) => [job.name, job] as const))('%s', (_name, job) => {
    const soc = makeSoc();
    const style = stylesOf(soc).find((s) => s.name === name)!;
    const before = stateOf(soc);
    expect(job.play(soc, style)).toBe(job.outcomes[name]);
    expect(stateOf(soc)).toEqual(before);
    const tables = soc.iommu.instances.map((i) => (i as FakeIommu).tables.size);
    expect(tables.every((count) => count === 0)).toBe(true);
  });
});

test('every job fails in some style, and every style fails in some job, but the first', () => {
  const [first, ...rest] = JOBS;
  expect(new Set(Object.values(first!.outcomes))).toEqual(new Set(['ok']));
  expect(rest.filter((job) => Object.values(job.outcomes).every((o) => o === 'ok'))).toEqual([]);
  expect(NAMES.filter((name) => JOBS.every((job) => job.outcomes[name] === 'ok'))).toEqual([]);
});

test('the table in BINDINGS.md says what happens', () => {
  const text = readFileSync(new URL('../../BINDINGS.md', import.meta.url), 'utf8');
  const rows = text
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim().replaceAll('`', '')),
    );
  // The one table with a column for each style.
  const [head, , ...body] = rows.filter((row) => row.length === NAMES.length + 1);
  expect(head).toEqual(['Job', ...NAMES]);
  expect(body).toEqual(JOBS.map((job) => [job.name, ...NAMES.map((name) => job.outcomes[name])]));
});
