import { describe, expect, test } from '@jest/globals';
import type { ProcessSpace } from '@iommu-lab/iommu-core';
import type { LabEvent } from '@iommu-lab/machine';
import type { RunOptions, RunResult, System } from '../src/index.ts';
import { DRIVER_LINES } from '../src/scenario/jobs/process-space/driver-lines.ts';
import { codeLines } from './code-lines.ts';
import { ignoreInvalidations, problems, run } from './support.ts';

const STEP = '  - do: process-space\n';

/** The table's rows by their label, a number for each of the three ways; `2 + 2` counts as 4. */
function costs(result: RunResult): ReadonlyMap<string, readonly number[]> {
  const [, ...lines] = (result.report.steps[0]?.results[0] ?? '').trimEnd().split('\n');
  return new Map(
    lines.map((line) => {
      const [label = '', ...cells] = line.trim().split(/ {2,}/);
      const sum = (cell: string): number => cell.split('+').reduce((total, part) => total + Number(part), 0);
      return [label, cells.map(sum)];
    }),
  );
}

function record(options: RunOptions = {}): {
  readonly result: RunResult;
  readonly events: readonly LabEvent[];
} {
  const events: LabEvent[] = [];
  return { result: run(STEP, { ...options, onEvent: (event) => events.push(event) }), events };
}

describe('one job in the process space and in the bus space', () => {
  const { result, events } = record();

  test('comes out the same, three ways', () => {
    expect(problems(result)).toEqual([]);
    expect(result.report.steps[0]?.results[1]).toBe('the three results are the same, byte for byte');
  });

  test('costs what the job says it must: pages, pins, copies, mappings', () => {
    const [page, pages, used, lost] = [4096, 16, 8, 4];
    const rows = costs(result);
    // What was taken back of the source, and the destination: touched pages only, or all that may be touched.
    expect(rows.get('device faults, served')).toEqual([lost + used, 0, 0]);
    expect(rows.get('pages brought in')).toEqual([lost + used, lost + pages, lost + used]);
    expect(rows.get('bytes pinned')).toEqual([0, 2 * pages * page, 0]);
    expect(rows.get('bytes copied by the CPU')).toEqual([0, 0, 2 * used * page]);
    expect(rows.get('calls of map + unmap')).toEqual([0, 4, 4]);
    // A first level, and one second level for the few pages in it.
    expect(rows.get('page-table bytes of its own')).toEqual([0, 0x4000 + 0x400, 0x4000 + 0x400]);
    // A miss for each page, and one more for each try that found none.
    expect(rows.get('TLB misses')).toEqual([2 * used + lost + used, 2 * used, 2 * used]);
    expect(rows.get('table walks')).toEqual(rows.get('TLB misses'));
  });

  test('states how long the drivers are', () => {
    const folder = new URL('../src/scenario/jobs/process-space/', import.meta.url);
    for (const [file, lines] of Object.entries(DRIVER_LINES)) {
      expect([file, codeLines(new URL(file, folder))]).toEqual([file, lines]);
    }
    expect(costs(result).get('lines of the driver')).toEqual(Object.values(DRIVER_LINES));
  });

  test('faults that were served are not reported as stopped; those of the two endings are', () => {
    expect(result.report.faults.map((f) => [f.conclusion, f.direction])).toEqual([
      ['process', 'write'],
      ['blocked-domain', 'read'],
    ]);
    expect(events.filter((e) => e.name === 'iommu:io_page_fault').length).toBeGreaterThan(2);
  });

  test('repeats byte for byte with its seed', () => {
    const again = record();
    expect(again.result).toEqual(result);
    expect(JSON.stringify(again.events)).toBe(JSON.stringify(events));
  });

  test.each([2, 17, 99])('works with seed %i', (seed) => {
    expect(problems(run(STEP, {}, `seed: ${seed}`))).toEqual([]);
  });

  test('works with a walker that sees the cache, a small TLB, and buffers of every size', () => {
    for (const hardware of ['coherentWalk: true', 'tlbEntries: 8']) {
      expect(problems(run(STEP, {}, `hardware: { ${hardware} }`))).toEqual([]);
    }
    for (const [pages, usedPages] of [
      [2, 2],
      [40, 39],
    ]) {
      const step = `  - { do: process-space, pages: ${pages}, usedPages: ${usedPages} }\n`;
      expect(problems(run(step))).toEqual([]);
    }
  });
});

describe('a stack that does not tell the IOMMU what the process does is found out', () => {
  /** Devices get to know the process with one of its notices missing. */
  function without(notice: 'onUnmap' | 'onExit'): (system: System) => void {
    return ({ iommu }) => {
      const bind = iommu.bindProcess.bind(iommu);
      iommu.bindProcess = (device, process, context) => {
        const deaf: ProcessSpace = new Proxy(process, {
          get(target, key) {
            if (key === notice) return () => () => undefined;
            const value: unknown = Reflect.get(target, key, target);
            return typeof value === 'function' ? value.bind(target) : value;
          },
        });
        return bind(device, deaf, context);
      };
    };
  }

  test('no invalidation when the process unmaps: the device writes into the next owner of the memory', () => {
    const result = run(STEP, { prepare: without('onUnmap') });
    expect(result.report.ok).toBe(false);
    expect(problems(result)).toContainEqual(
      expect.stringMatching(/^the destination is unmapped .* it wrote into 1 page\(s\) of the next owner$/),
    );
  });

  test('no notice of the exit: the device goes on', () => {
    const result = run(STEP, { prepare: without('onExit') });
    expect(result.report.ok).toBe(false);
    expect(problems(result)).toContainEqual(
      expect.stringMatching(/^the process exits .* it is on a sva domain, not blocked$/),
    );
  });

  test('the hardware ignores invalidations', () => {
    const result = run(STEP, {
      prepare: (system) => ignoreInvalidations(system, 'gfx2d0'),
    });
    expect(result.report.ok).toBe(false);
  });
});
