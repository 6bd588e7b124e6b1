import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { DMA_ERROR_KINDS, type DmaErrorKind } from '../../src/debug/dma-debug.ts';
import { errorReference } from './support/error-reference.ts';
import { PROGRAMS } from './support/programs.ts';
import { makeScene } from './support/scene.ts';

const KINDS = Object.keys(DMA_ERROR_KINDS) as readonly DmaErrorKind[];

describe('each kind of mistake', () => {
  test.each(KINDS)('%s: is reported, and nothing else is', (kind) => {
    const scene = makeScene(PROGRAMS[kind].scene);
    PROGRAMS[kind].wrong(scene);
    expect(scene.debug.reports.map((report) => report.kind)).toEqual([kind]);
    expect(scene.debug.reports[0]?.kernelClass).toBe(DMA_ERROR_KINDS[kind].kernelClass);
  });

  test.each(KINDS)('%s: the neighbouring program that is right is silent', (kind) => {
    const scene = makeScene(PROGRAMS[kind].scene);
    PROGRAMS[kind].right(scene);
    expect(scene.debug.reports).toEqual([]);
    expect(scene.fake.mappedBytes).toBe(0);
    expect(scene.debug.liveMappings()).toEqual([]);
  });

  test.each(KINDS)('%s: after the report the driver is where it would be without the mistake', (kind) => {
    const { wrong, leaves = false, scene: options } = PROGRAMS[kind];
    const scene = makeScene(options);
    wrong(scene);
    expect(scene.fake.mappedBytes > 0).toBe(leaves);
    expect(scene.debug.liveMappings().length > 0).toBe(leaves);
    expect(scene.fake.reservations.size).toBe(kind === 'iova-left-at-release' ? 1 : 0);
  });

  test.each(KINDS)('%s: is an event too, with both sites and without stacks', (kind) => {
    const scene = makeScene({
      ...PROGRAMS[kind].scene,
      debug: { ...PROGRAMS[kind].scene?.debug, stacks: true },
    });
    PROGRAMS[kind].wrong(scene);
    const [report] = scene.debug.reports;
    const events = scene.events.filter(({ name }) => name === 'dma:debug');
    expect(events).toHaveLength(1);
    expect(events[0]?.fields).toMatchObject({
      kind,
      device: 'rot',
      site: report?.culprit.site,
      ...(report?.mapping && { mapped_by: report.mapping.site }),
    });
    expect(report?.culprit.stack).toMatch('programs.ts');
    expect(JSON.stringify(events)).not.toMatch('programs.ts');
  });
});

test('every class of the kernel checker has a kind', () => {
  const classes = new Set(Object.values(DMA_ERROR_KINDS).map(({ kernelClass }) => kernelClass));
  for (let kernelClass = 1; kernelClass <= 25; kernelClass++) expect(classes).toContain(kernelClass);
});

/** `DMA_ERRORS=write` brings the file up to date. */
test('ERRORS.md is what the table and the programs say', () => {
  const path = new URL('../../ERRORS.md', import.meta.url);
  if (process.env['DMA_ERRORS'] === 'write') writeFileSync(path, errorReference());
  expect(readFileSync(path, 'utf8')).toBe(errorReference());
});
