import { describe, expect, test } from '@jest/globals';
import { decode } from 'jpeg-js';
import type { LabEvent } from '@iommu-lab/machine';
import { runScenario, type RunOptions, testCard } from '../src/index.ts';
import { defaultScenario, pictures, problems, quarterTurn, rgbLines, run } from './support.ts';

const PIPELINE = '  - do: pipeline\n';

function record(seed: number): { readonly result: ReturnType<typeof runScenario>; readonly log: string } {
  const events: LabEvent[] = [];
  const options: RunOptions = { onEvent: (event) => events.push(event) };
  const result = runScenario({ ...defaultScenario(), seed }, options);
  return { result, log: events.map((event) => JSON.stringify(event)).join('\n') };
}

describe('the default scenario', () => {
  const first = record(7);

  test('works where it should and stops what it should', () => {
    expect(problems(first.result)).toEqual([]);
    expect(first.result.report.ok).toBe(true);
    expect(first.result.report.faults.map((f) => [f.device, f.direction, f.conclusion])).toEqual([
      ['vfe', 'write', 'beyond-end'],
      ['rot', 'write', 'permission'],
    ]);
  });

  test('a run repeats byte for byte with its seed', () => {
    const second = record(7);
    expect(second.log).toBe(first.log);
    expect(second.result).toEqual(first.result);
  });

  test('another seed scatters the frames differently and shows the same pictures', () => {
    const other = record(8);
    expect(other.log).not.toBe(first.log);
    expect(pictures(other.result)).toEqual(pictures(first.result));
  });

  test.each([3, 11, 23, 42, 99])('works with seed %i too', (seed) => {
    expect(problems(record(seed).result)).toEqual([]);
  });
});

describe('the pipeline', () => {
  test('the display shows the input turned by a quarter', () => {
    const scene = testCard(75, 50);
    const [shown] = pictures(run(PIPELINE, { scene }, 'frames: 1'));
    expect(shown && rgbLines(shown)).toEqual(quarterTurn(rgbLines(scene)));
  });

  test('every angle is so many quarter turns', () => {
    const scene = testCard(33, 20);
    let expected = rgbLines(scene);
    for (const degrees of [0, 90, 180, 270]) {
      const result = run(`  - do: pipeline\n    degrees: ${degrees}\n`, { scene }, 'frames: 1');
      expect(problems(result)).toEqual([]);
      expect(pictures(result).map(rgbLines)).toEqual([expected]);
      expected = quarterTurn(expected);
    }
  });

  test('works with a walker that sees the cache, and with the smallest TLB', () => {
    for (const hardware of ['coherentWalk: true', 'tlbEntries: 8']) {
      expect(problems(run(PIPELINE, {}, `hardware: { ${hardware} }`))).toEqual([]);
    }
  });

  test('without routing at the display the picture is black', () => {
    const scene = testCard(32, 24);
    const result = run(
      PIPELINE,
      {
        scene,
        prepare: (system) => {
          // Every MID of the display's IOMMU to a context bank that does not exist.
          for (let mid = 0; mid < 32; mid++) system.smmu('mdp0').write32(0xff000 + mid * 4, 0xff00);
        },
      },
      'frames: 1',
    );
    expect(result.report.ok).toBe(false);
    const [shown] = pictures(result);
    expect(shown?.pixels.some((byte, i) => i % 4 !== 3 && byte !== 0)).toBe(false);
  });
});

describe('an engine shared by processes', () => {
  test('every canvas holds its own paint, for two processes and for eight', () => {
    for (const names of ['[a, b]', '[a, b, c, d, e, f, g, h]']) {
      const result = run(`  - do: share-engine\n    processes: ${names}\n    rounds: 5\n`);
      expect(problems(result)).toEqual([]);
    }
  });
});

describe('a guest', () => {
  test('encodes what the camera sees: the stream decodes to the scene', () => {
    const scene = testCard(80, 56);
    const [jpeg] = run('  - { do: guest, quality: 95 }\n', { scene }).artifacts;
    const decoded = decode(jpeg?.kind === 'bytes' ? jpeg.bytes : new Uint8Array(), { useTArray: true });
    expect([decoded.width, decoded.height]).toEqual([80, 56]);
    const colours = (pixels: Uint8Array): number[] => [...pixels.filter((_, i) => i % 4 !== 3)];
    const wanted = colours(scene.pixels);
    const errors = colours(decoded.data).map((value, i) => Math.abs(value - (wanted[i] as number)));
    expect(errors.reduce((sum, error) => sum + error, 0) / errors.length).toBeLessThan(4);
  });

  test('gives everything back, so that the next one can have the device', () => {
    const steps = '  - { do: guest, name: first }\n  - { do: guest, name: second }\n';
    let freeBefore = 0;
    let freeAfter = (): number => 0;
    const result = run(steps, {
      prepare: (system) => {
        freeBefore = system.frames.freeBytes;
        freeAfter = () => system.frames.freeBytes;
      },
    });
    expect(problems(result)).toEqual([]);
    expect(freeAfter()).toBe(freeBefore);
  });

  test('whose RAM is too small for the picture fails, and the host goes on', () => {
    const result = run(`  - { do: guest, ramKiB: 256 }\n${PIPELINE}`, { scene: testCard(320, 240) });
    expect(result.report.steps.map((step) => step.ok)).toEqual([false, true]);
  });
});

test('pictures of every size go through every step', () => {
  const text = '  - do: pipeline\n  - do: guest\n';
  for (const [width, height] of [
    [1, 1],
    [20, 9],
    [13, 10],
    [700, 500],
  ] as const) {
    expect(problems(run(text, { scene: testCard(width, height) }, 'frames: 1'))).toEqual([]);
  }
});

test('a scene whose size does not fit its pixels is refused', () => {
  const scene = { ...testCard(4, 4), width: 5 };
  expect(() => run('  - do: pipeline\n', { scene })).toThrow('EINVAL: a picture of 5x4');
});

test('steps that leave the same names leave different files', () => {
  const steps = '  - do: pipeline\n  - do: share-engine\n  - do: guest\n';
  const { report } = run(steps + steps, {}, 'frames: 1');
  expect(report.artifacts).toEqual([
    'frame-0000.png',
    'canvas-painter.png',
    'canvas-printer.png',
    'vm0.jpg',
    'frame-0001.png',
    'canvas-painter-2.png',
    'canvas-printer-2.png',
    'vm0-2.jpg',
  ]);
});

describe('trespassing', () => {
  const attempts = [
    ['write', 'read', 'inside', 'stopped'],
    ['write', 'write', 'inside', 'done'],
    ['read', 'read', 'inside', 'done'],
    ['read', 'read-write', 'beyond-end', 'stopped'],
    ['write', 'read-write', 'before-start', 'stopped'],
  ] as const;

  test.each(attempts)('a %s in a %s buffer, %s, is %s', (attempt, rights, at, expected) => {
    const step = (expect: string): string =>
      `  - { do: trespass, device: gfx2d0, attempt: ${attempt}, buffer: { rights: ${rights} }, at: ${at}, expect: ${expect} }\n`;
    expect(problems(run(step(expected)))).toEqual([]);
    const wrong = expected === 'done' ? 'stopped' : 'done';
    expect(problems(run(step(wrong)))).toHaveLength(1);
  });

  test('is stopped at the first page that refuses; what came before it was moved', () => {
    const result = run(
      '  - { do: trespass, device: vfe, attempt: write, at: inside, lengthBytes: 20000, expect: stopped }\n',
    );
    expect(problems(result)).toEqual([]);
    expect(result.report.steps[0]?.results[0]).toBe('stopped after 16384 bytes');
    expect(result.report.faults.map((f) => f.conclusion)).toEqual(['beyond-end']);
  });

  test('changes no byte of memory outside the page tables, wherever it aims', () => {
    let digest = (): number => 0;
    let before = 0;
    const result = run(
      '  - { do: trespass, device: vfe, attempt: write, at: 0x40200000, lengthBytes: 65536, expect: stopped }\n',
      {
        prepare: (system) => {
          digest = () => {
            const bytes = new Uint8Array(1 << 20);
            system.memory.read(0x40200000 as Parameters<typeof system.memory.read>[0], bytes);
            return bytes.reduce((sum, byte, i) => (Math.imul(sum, 31) + byte + i) | 0, 0);
          };
          before = digest();
        },
      },
    );
    expect(problems(result)).toEqual([]);
    expect(digest()).toBe(before);
  });
});
