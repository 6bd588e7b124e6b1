/** The programs of every kind over the DMA layer itself, on each way to memory. */
import { describe, expect, test } from '@jest/globals';
import { DMA_ERROR_KINDS, type DmaErrorKind } from '../../src/index.ts';
import { PROGRAMS } from './support/programs.ts';
import { makeRealScene, type RealPath } from './support/real-scene.ts';

const KINDS = Object.keys(DMA_ERROR_KINDS) as readonly DmaErrorKind[];
const PATHS: readonly RealPath[] = ['direct', 'bounce', 'strict', 'lazy'];

/** What a wrong program comes to where it is something else; `undefined`: that way to memory makes it impossible. */
const OTHERWISE: Readonly<Record<RealPath, Partial<Record<DmaErrorKind, DmaErrorKind | undefined>>>> = {
  direct: { 'access-in-lazy-window': 'device-use-after-unmap' },
  bounce: {
    'access-in-lazy-window': 'device-use-after-unmap',
    // A bounce buffer is where the device wants it.
    'segment-crosses-boundary': undefined,
    // Its right program maps registers, and they cannot be bounced.
    'map-of-no-memory': undefined,
    // The device never touches the line.
    'neighbour-in-line': undefined,
  },
  strict: { 'access-in-lazy-window': 'device-use-after-unmap' },
  lazy: {},
};

describe.each(PATHS)('%s', (path) => {
  const hasIovaSpace = path === 'strict' || path === 'lazy';
  const kinds = KINDS.filter((kind) => {
    const isPossible = !(kind in OTHERWISE[path]) || OTHERWISE[path][kind] !== undefined;
    return isPossible && (hasIovaSpace || !kind.startsWith('iova-'));
  });

  test.each(kinds)('%s: is reported, and the layer is left as without the mistake', (kind) => {
    const { wrong, scene, leaves = false } = PROGRAMS[kind];
    const system = makeRealScene(path, scene?.debug);
    wrong(system);
    expect(system.debug.reports.map((report) => report.kind)).toEqual([OTHERWISE[path][kind] ?? kind]);
    expect(system.dma.mappedBytes > 0).toBe(leaves);
  });

  test.each(kinds)('%s: the program that is right is silent', (kind) => {
    const { right, scene } = PROGRAMS[kind];
    const system = makeRealScene(path, scene?.debug);
    right(system);
    expect(system.debug.reports).toEqual([]);
    expect(system.dma.mappedBytes).toBe(0);
  });
});
