/** Scenarios for tests, and a rotation of its own to compare with. */
import { readFileSync } from 'node:fs';
import { CTX_TLBIALL, TLBIASID, TLBIVA, TLBIVAA } from '@iommu-lab/smmu-hw/regs';
import {
  parseScenario,
  type Picture,
  type RunResult,
  runScenario,
  type RunOptions,
  type Scenario,
  type System,
} from '../src/index.ts';

export function scenario(steps: string, head = ''): Scenario {
  return parseScenario(`version: 1\nname: test\n${head}\nsteps:\n${steps}`, 'test.yaml');
}

/** The scenario the command line plays when it is given none. */
export function defaultScenario(): Scenario {
  const file = new URL('../../cli/scenarios/default.yaml', import.meta.url);
  return parseScenario(readFileSync(file, 'utf8'), 'default.yaml');
}

export function run(text: string, options: RunOptions = {}, head = ''): RunResult {
  return runScenario(scenario(text, head), options);
}

/** Every problem of every step. */
export function problems({ report }: RunResult): readonly string[] {
  return report.steps.flatMap((step) => step.problems);
}

export function pictures({ artifacts }: RunResult): readonly Picture[] {
  return artifacts.flatMap((artifact) => (artifact.kind === 'picture' ? [artifact.picture] : []));
}

/** The IOMMU's TLB forgets nothing from now on: as if its driver did not invalidate. */
export function ignoreInvalidations(system: System, provider: string): void {
  const smmu = system.smmu(provider);
  const write = smmu.write32.bind(smmu);
  const ignored = [CTX_TLBIALL, TLBIASID, TLBIVA, TLBIVAA].map((register) => register.offset);
  // Every bank has a page of registers, and so has what is common to all: the last one of the window.
  smmu.write32 = (offset, value) => {
    if (offset >= 0xff000 || !ignored.includes(offset % 0x1000)) write(offset, value);
  };
}

/** R, G, B of every pixel as `r,g,b`, line by line. */
export function rgbLines({ width, height, pixels }: Picture): string[][] {
  return Array.from({ length: height }, (_, y) =>
    Array.from({ length: width }, (_unused, x) =>
      pixels.slice((y * width + x) * 4, (y * width + x) * 4 + 3).join(','),
    ),
  );
}

/** Clockwise by a quarter: the columns, from the left, each read from the bottom, are the new lines. */
export function quarterTurn(lines: readonly (readonly string[])[]): string[][] {
  return (lines[0] ?? []).map((_, x) => lines.map((line) => line[x] as string).reverse());
}
