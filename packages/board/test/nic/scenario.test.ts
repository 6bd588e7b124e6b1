import { describe, expect, test } from '@jest/globals';
import { NIC_PRICES, parseScenario } from '../../src/index.ts';
import { problems, run } from '../support.ts';

const STEP = '  - { do: nic, packets: 40, ringEntries: 16 }\n';

describe('a nic step', () => {
  const result = run(STEP);
  const [step] = result.report.steps;
  const texts = step?.results ?? [];

  test('works, and says so', () => {
    expect(problems(result)).toEqual([]);
    expect(step?.title).toBe(
      'a NIC receives 40 packets of 1500 bytes and sends as many, four ways of doing DMA',
    );
    expect(texts[0]).toBe('every packet came through, byte for byte, in each');
  });

  test('strict costs more than deferred, and that more than direct; so it does of what is for the IOMMU', () => {
    const [direct, strict, deferred, bounce] = rowOf('all') as [number, number, number, number];
    expect(strict).toBeGreaterThan(deferred);
    expect(deferred).toBeGreaterThan(direct);
    expect(bounce).toBeGreaterThan(direct);
    const [, strictIommu = 0, deferredIommu = 0] = rowOf('of it for the IOMMU');
    expect(strictIommu).toBeGreaterThan(1.5 * deferredIommu);
  });

  test('leaves its chart as a picture, and on the terminal in 80 columns', () => {
    const [picture] = result.artifacts;
    expect(picture?.name).toBe('nic.svg');
    expect(picture?.kind === 'text' && picture.text).toMatch(
      /^<svg [^]*<title>strict: invalidation \d+<[^]*<\/svg>\n$/,
    );
    const chart = texts.find((text) => text.startsWith('modelled cycles a packet\n')) ?? '';
    expect(chart.split('\n').filter((line) => line.includes('█'))).toHaveLength(5);
    expect(Math.max(...chart.split('\n').map((line) => line.length))).toBeLessThanOrEqual(72);
  });

  test('comes out the same with the same seed', () => {
    expect(run(STEP)).toEqual(result);
  });

  test('other prices change what it costs, and nothing that happened', () => {
    const dear = run(
      `  - { do: nic, packets: 40, ringEntries: 16, costs: { invalidation: 0, stack: 100 } }\n`,
    );
    const others = dear.report.steps[0]?.results ?? [];
    expect(others[1]).toBe(texts[1]);
    expect(others[2]).toMatch(/^invalidation +0 +0 +0 +0$/m);
    expect(others[2]).toMatch(/^stack +100 +100 +100 +100$/m);
  });

  test('quotes each source that it compares with', () => {
    const published = texts.at(-1) ?? '';
    const cited = [...published.matchAll(/ \[(\d)\]$/gm)].map(([, number]) => number);
    const listed = [...published.matchAll(/^\[(\d)\] /gm)].map(([, number]) => number);
    expect(new Set(cited)).toEqual(new Set(listed));
  });

  /** A row of the table of costs. */
  function rowOf(label: string): readonly number[] {
    const line = (texts[2] ?? '').split('\n').find((row) => row.startsWith(`${label}  `)) ?? '';
    return line.slice(label.length).trim().split(/ +/).map(Number);
  }
});

test('every price has a default, and can be set', () => {
  const parsed = parseScenario('version: 1\nname: x\nsteps: [{ do: nic, costs: { tlbHit: 7 } }]\n', 'x.yaml');
  expect(parsed.steps[0]).toMatchObject({ costs: { ...NIC_PRICES, tlbHit: 7 } });
});
