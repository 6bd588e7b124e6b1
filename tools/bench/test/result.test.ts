import { describe, expect, test } from '@jest/globals';
import type { Target } from '../src/bench-case.ts';
import { markdownReport, terminalReport, type Report } from '../src/report.ts';
import { judge, type MeasuredCase } from '../src/result.ts';

const flat = (ns: number) => ({ least: ns, median: ns, most: ns });

function measured(name: string, ns: number, targets: readonly Target[] = []): MeasuredCase {
  return { name, ns: flat(ns), yardstick: 'C', yardstickNs: flat(2), bytes: 16, targets };
}

function isMet(result: MeasuredCase, others: readonly MeasuredCase[] = []): (boolean | undefined)[] {
  return judge(result, [...others, result]).map((target) => target.isMet);
}

describe('targets', () => {
  test('the yardstick: at most so many times as long', () => {
    expect(isMet(measured('a', 6, [{ kind: 'yardstick', most: 3 }]))).toEqual([true]);
    expect(isMet(measured('a', 6.1, [{ kind: 'yardstick', most: 3 }]))).toEqual([false]);
  });

  test('another case, if it was measured', () => {
    const target: Target = { kind: 'case', name: 'b', most: 2 };
    expect(isMet(measured('a', 6, [target]), [measured('b', 3)])).toEqual([true]);
    expect(isMet(measured('a', 7, [target]), [measured('b', 3)])).toEqual([false]);
    expect(isMet(measured('a', 7, [target]))).toEqual([undefined]);
  });

  test('bytes', () => {
    expect(isMet(measured('a', 6, [{ kind: 'bytes', most: 16 }]))).toEqual([true]);
    expect(isMet(measured('a', 6, [{ kind: 'bytes', most: 0 }]))).toEqual([false]);
  });

  test('without a yardstick nothing is met, and nothing missed', () => {
    const { yardstickNs: _, ...unmeasured } = measured('a', 6, [{ kind: 'yardstick', most: 3 }]);
    expect(isMet(unmeasured)).toEqual([undefined]);
  });
});

describe('reports', () => {
  const { yardstickNs: _, ...withoutC } = measured('no native run', 8);
  const report: Report = {
    packageName: '@iommu-lab/x',
    machine: { cpu: 'some CPU', cores: 2, node: 'v20', compiler: undefined },
    processes: 5,
    milliseconds: 400,
    cases: [measured('a case', 6, [{ kind: 'yardstick', most: 2 }]), withoutC, { name: 'bad', error: 'why' }],
  };

  test('the terminal gets a row for each case, and what failed', () => {
    const rows = terminalReport(report)
      .split('\n')
      .map((line) => line.trim().split(/ {2,}/));
    expect(rows).toContainEqual(['case', 'ns', 'least..most', 'ns, C', 'ratio', 'bytes', 'target']);
    expect(rows).toContainEqual(['a case', '6.00', '6.00..6.00', '2.00', '3.00', '16.0', '<= 2 x C: missed']);
    expect(rows).toContainEqual(['no native run', '8.00', '8.00..8.00', 'no cc', 'no cc', '16.0']);
    expect(rows).toContainEqual(['FAILED bad']);
  });

  test('Markdown names the machine and has the same cells', () => {
    const text = markdownReport(report);
    expect(text).toContain('some CPU, 2 cores, Node v20');
    expect(text).toMatch(/^\| a case +\| 6\.00 \|/m);
    expect(text).toContain('**Failed:** bad: why');
  });
});
