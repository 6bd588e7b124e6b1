import { describe, expect, test } from '@jest/globals';
import type { LabEvent } from '@iommu-lab/machine';
import type { RunResult, System } from '../src/index.ts';
import { ANSWER_LINES } from '../src/which-iommu/answers/index.ts';
import { codeLines } from './code-lines.ts';
import { ignoreInvalidations, problems, run } from './support.ts';

const STEP = '  - do: which-iommu\n';

/** What came of each job, as the report prints it. */
function outcomes({ report }: RunResult): readonly string[] {
  const lines = (report.steps[0]?.results[1] ?? '').trimEnd().split('\n');
  return lines.slice(1).map((line) => line.trim().replace(/ +/g, ' '));
}

describe('the same job through every answer', () => {
  const events: LabEvent[] = [];
  const systems: System[] = [];
  let freeBytes = 0;
  const result = run(STEP, {
    onEvent: (event) => events.push(event),
    prepare: (system) => {
      systems.push(system);
      freeBytes = system.frames.freeBytes;
    },
  });
  const [system] = systems as [System];

  test('comes out as the answers say of themselves', () => {
    expect(problems(result)).toEqual([]);
    // one device, two that share, the display, another kind, both kinds, the wrong thing said, mapped first
    expect(outcomes(result)).toEqual([
      'named ok EINVAL EINVAL ok EINVAL EINVAL ok',
      'bound-later ok EINVAL EINVAL ok EINVAL EINVAL EINVAL',
      'at-attach ok ok ok ok ok ok ok',
      'per-bus ok ok ok EINVAL EINVAL ENODEV ok',
      'per-device ok ok ok ok EINVAL ok ok',
      'bus-dma-ops ok EFAULT ok ENODEV ENODEV ok ENODEV',
      'linux-2010 ok ok ok EINVAL EINVAL EFAULT ok',
    ]);
  });

  test('tells every message of what did not work, in words', () => {
    const [head, ...lines] = result.report.steps[0]?.results[3]?.trimEnd().split('\n') ?? [];
    expect([head, lines.length]).toEqual(['why not', 2 * 20]);
    for (const [i, line] of lines.entries()) {
      expect(line).toMatch(i % 2 === 0 ? /^[a-z0-9-]+\/[a-z]+$/ : /^ {2}E[A-Z]+: ./);
    }
  });

  test('stops every device at the buffer that was unmapped, and says so', () => {
    const unmapped = result.report.faults.filter((f) => f.conclusion === 'unmapped-before');
    const devices = new Set(unmapped.map((f) => `${f.device} at ${f.provider}`));
    expect([...devices].sort()).toEqual([
      'flatdev at flat',
      'gfx2d0 at gfx2d0',
      'ijpeg at ijpeg',
      'mdp at mdp0',
      'mdp at mdp1',
    ]);
    // Without an IOMMU API nobody knows whose an access was.
    expect(result.report.faults.filter((f) => f.device === 'unknown').length).toBeGreaterThan(0);
  });

  test('one table serves two IOMMUs of a kind, two tables serve two kinds', () => {
    const costs = result.report.steps[0]?.results[4]?.split('\n') ?? [];
    const [first, flat] = [0x4000 + 0x400, 0x10000];
    const row = (name: string): string | undefined =>
      costs.find((line) => line.startsWith(name))?.replace(/ {2,}/g, '|');
    expect(row('at-attach')).toBe(
      `at-attach|1 / ${first}|1 / ${first}|1 / ${first}|2 / ${first + flat}|${ANSWER_LINES['at-attach.ts']}`,
    );
    expect(row('per-device')).toBe(
      `per-device|1 / ${first}|1 / ${first}|1 / ${first}|-|${ANSWER_LINES['per-device.ts']}`,
    );
  });

  test('states how long the callers are', () => {
    const folder = new URL('../src/which-iommu/answers/', import.meta.url);
    for (const [file, lines] of Object.entries(ANSWER_LINES)) {
      expect([file, codeLines(new URL(file, folder))]).toEqual([file, lines]);
    }
  });

  test('leaves the system as it was', () => {
    system.expectNothingMapped();
    expect(system.iommu.instances.map((i) => i.provider)).not.toContain('flat');
    expect(system.bus.devices.map((d) => d.name)).not.toContain('flatdev');
    expect(system.bus.devices.filter((d) => d.driver === undefined)).toEqual([]);
    expect(system.frames.freeBytes).toBe(freeBytes);
  });

  test('repeats byte for byte with its seed', () => {
    const again: LabEvent[] = [];
    expect(run(STEP, { onEvent: (event) => again.push(event) })).toEqual(result);
    expect(JSON.stringify(again)).toBe(JSON.stringify(events));
  });
});

test('works twice, with other seeds, with a walker that sees the cache, and between other steps', () => {
  expect(problems(run(STEP + STEP, {}, 'seed: 5'))).toEqual([]);
  const steps = `  - { do: share-engine, rounds: 1 }\n${STEP}  - { do: share-engine, rounds: 1 }\n`;
  expect(problems(run(steps, {}, 'hardware: { coherentWalk: true, tlbEntries: 8 }'))).toEqual([]);
});

describe('a stack that is not as documented fails the step', () => {
  test('an IOMMU that ignores invalidations: the device still reads what was unmapped', () => {
    const result = run(STEP, {
      prepare: (system) => ignoreInvalidations(system, 'gfx2d0'),
    });
    expect(problems(result)).toContain(
      'named/one: EIO: gfx2d0 still reads the buffer after it was unmapped; expected ok',
    );
  });

  test('an attach that takes the device nowhere: it is refused', () => {
    const result = run(STEP, {
      prepare: ({ iommu }) => {
        iommu.attach = () => undefined;
      },
    });
    expect(problems(result)).toContainEqual(
      expect.stringMatching(/^per-device\/one: EFAULT: the read of gfx2d0 at .* was stopped; expected ok$/),
    );
  });

  test('a bus that takes on what it has no tables for: another outcome than documented', () => {
    const result = run(STEP, {
      prepare: ({ iommu, smmuDriver }) => {
        const { instances } = smmuDriver;
        Object.defineProperty(smmuDriver, 'instances', {
          get: () => [...instances, ...iommu.instances.filter((i) => i.provider === 'flat')],
        });
      },
    });
    expect(problems(result)).toEqual([
      'bus-dma-ops/flat: it went well; expected ENODEV',
      expect.stringMatching(/^bus-dma-ops\/mixed: EFAULT: .*; expected ENODEV$/),
    ]);
  });
});
