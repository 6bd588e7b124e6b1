/** The program as it is used: on a small package of its own, and on the model beside C. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Report } from '../src/report.ts';
import type { MeasuredCase } from '../src/result.ts';

const PROGRAM = join(import.meta.dirname, '../lab-bench.mjs');
const TINY = join(import.meta.dirname, 'tiny');
const SMMU_HW = join(import.meta.dirname, '../../../packages/smmu-hw');
const SHORT = ['--quick', '--processes', '2', '--milliseconds', '20'];
/** Only for what hangs: a machine may be busy. */
const LIMIT = 300_000;

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'bench-test-'));
});

afterEach(() => rmSync(folder, { recursive: true }));

function labBench(
  where: string,
  ...args: string[]
): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [PROGRAM, ...args], { cwd: where, encoding: 'utf8' });
}

function reportOf(
  where: string,
  ...args: string[]
): { status: number | null; report: Report; markdown: string } {
  const json = join(folder, 'report.json');
  const markdown = join(folder, 'report.md');
  const { status, stderr } = labBench(where, ...SHORT, '--json', json, '--markdown', markdown, ...args);
  if (status === 2) throw new Error(stderr);
  return {
    status,
    report: JSON.parse(readFileSync(json, 'utf8')) as Report,
    markdown: readFileSync(markdown, 'utf8'),
  };
}

function hasCompiler(): boolean {
  try {
    execFileSync('cc', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

describe('a package of its own', () => {
  test(
    'every case is measured: time, bytes, yardstick',
    () => {
      const { status, report, markdown } = reportOf(TINY, '--only', 'allocates', '--only', 'BESIDE');
      expect(status).toBe(0);
      expect(report).toMatchObject({ packageName: 'tiny', processes: 2, milliseconds: 20 });
      const cases = report.cases as readonly MeasuredCase[];
      expect(cases.map(({ name, bytes }) => [name, Math.round(bytes * 10) / 10])).toEqual([
        ['allocates nothing', 0],
        ['allocates 16 bytes', 16],
        ['allocates 24 bytes', 24],
        ['allocates 24 bytes, undone', 24],
        ['beside a plain loop', 0],
      ]);
      for (const { ns } of cases) {
        expect(ns.least).toBeGreaterThan(0);
        expect(ns.median).toBeGreaterThanOrEqual(ns.least);
        expect(ns.most).toBeGreaterThanOrEqual(ns.median);
      }
      expect(cases.map(({ yardstick }) => yardstick)).toEqual(['none', 'none', 'none', 'none', 'plain loop']);
      expect(cases[4]?.yardstickNs?.median).toBeGreaterThan(0);
      expect(markdown).toMatch(/^\| allocates 16 bytes .* <= 0 B: missed *\|$/m);
      expect(markdown).toMatch(/<= 1000000 x no such case: not measured *\|$/m);
      expect(markdown).toContain(process.version);
    },
    LIMIT,
  );

  test.each([
    ['wrong: verify', 'not what it should be'],
    ['wrong: checksum', 'the runs do not do the same'],
    ['wrong: counts', 'walks: 1 in 1 runs, not 2 in each'],
    ['wrong: no longer', 'wrong in the end'],
  ])(
    '%s: exit code 1, and why',
    (name, why) => {
      const { status, report } = reportOf(TINY, '--only', name, '--only', 'allocates nothing');
      expect(status).toBe(1);
      expect(report.cases.map(({ error }) => error !== undefined)).toEqual([false, true]);
      expect(report.cases[1]?.error).toContain(why);
    },
    LIMIT,
  );

  test(
    'another checksum than in C is a failure, where there is C',
    () => {
      const { status, report } = reportOf(TINY, '--only', 'other than C');
      const isCompared = hasCompiler();
      expect(status).toBe(isCompared ? 1 : 0);
      expect(report.cases[0]?.error ?? 'none').toMatch(
        isCompared ? /^checksum 499500, but \d+ in C$/ : /none/,
      );
    },
    LIMIT,
  );

  test(
    'without a C compiler its columns say so, and nothing fails',
    () => {
      const args = [PROGRAM, ...SHORT, '--only', 'other than C'];
      const env = { ...process.env, PATH: '' };
      const { status, stdout } = spawnSync(process.execPath, args, { cwd: TINY, encoding: 'utf8', env });
      expect(status).toBe(0);
      expect(stdout).toContain('no C compiler');
      expect(stdout).toMatch(/^wrong: other than C .* no cc +no cc /m);
    },
    LIMIT,
  );

  test(
    '--list names cases, and runs none of them',
    () => {
      const { status, stdout } = labBench(TINY, '--list', '--only', 'WRONG');
      expect(status).toBe(0);
      expect(stdout.split('\n').filter(Boolean)).toHaveLength(5);
    },
    LIMIT,
  );

  test.each([
    [['--only', 'nowhere'], 'no case is named like nowhere'],
    [['--processes', '0'], '--processes wants'],
    [['--fast'], "Unknown option '--fast'"],
  ])(
    '%j: exit code 2',
    (args, why) => {
      const { status, stderr } = labBench(TINY, ...args);
      expect(status).toBe(2);
      expect(stderr).toContain(why);
    },
    LIMIT,
  );

  test(
    'a folder without bench files: exit code 2',
    () => {
      const { status, stderr } = labBench(folder);
      expect(status).toBe(2);
      expect(stderr).toContain('has no bench/*.bench.ts');
    },
    LIMIT,
  );
});

describe('the model beside C', () => {
  // One case for each kind of work and each size of page. lab-bench itself compares checksums and walks.
  const chosen = [
    'hot random pages, 256',
    'four banks',
    'large pages',
    'sections',
    'TLBI',
    'V2P, cold',
    'register',
  ];
  const args = ['--processes', '1', '--milliseconds', '1', ...chosen.flatMap((name) => ['--only', name])];

  test(
    'the same patterns give the same results, with and without a C compiler',
    () => {
      const { status, report } = reportOf(SMMU_HW, ...args);
      expect(
        report.cases.flatMap(({ name, error }) => (error === undefined ? [] : [{ name, error }])),
      ).toEqual([]);
      expect(status).toBe(0);
      expect(report.cases).toHaveLength(10);
      const compared = (report.cases as readonly MeasuredCase[]).filter(
        ({ yardstickNs }) => yardstickNs !== undefined,
      );
      expect(compared).toHaveLength(hasCompiler() ? report.cases.length : 0);
    },
    LIMIT,
  );
});
