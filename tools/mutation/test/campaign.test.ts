/** Whole campaigns, on a package made for them. */
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { mutantsOf, runCampaign, type MutantResult } from '../campaign.mjs';
import { mutantLine, scoreTable } from '../report.mjs';

jest.setTimeout(120_000); // each run of a test file is a run of Jest

const MODULES = fileURLToPath(new URL('../node_modules', import.meta.url));
const TEST_IMPORTS = `import { expect, test } from '@jest/globals';`;

/** No test gives `lowBits` a number above 3, and none imports unused.ts. */
const TOY = {
  'package.json': `{ "name": "toy", "type": "module" }`,
  'jest.config.mjs': `export { default } from '@iommu-lab/jest-preset';`,
  'src/bits.ts': `export const lowBits = (word: number): number => word & 0b11;\n`,
  'src/count.ts': `export function bitsIn(word: number): number {
  let count = 0;
  for (let rest = word; rest > 0; rest &= rest - 1) count++;
  return count;
}
`,
  'src/unused.ts': `export const flipped = (word: number): number => ~word;\n`,
  'test/bits.test.ts': `${TEST_IMPORTS}
import { lowBits } from '../src/bits.ts';
test('keeps two bits', () => expect([0, 1, 2, 3].map(lowBits)).toEqual([0, 1, 2, 3]));
`,
  'test/count.test.ts': `${TEST_IMPORTS}
import { bitsIn } from '../src/count.ts';
test('counts bits', () => expect(bitsIn(5)).toBe(2));
`,
};

let toy = '';

beforeEach(() => {
  toy = realpathSync(mkdtempSync(join(tmpdir(), 'toy-')));
  for (const [file, text] of Object.entries(TOY)) write(file, text);
  symlinkSync(MODULES, join(toy, 'node_modules'), 'junction');
});

afterEach(() => rmSync(toy, { recursive: true, force: true }));

function write(file: string, text: string): void {
  mkdirSync(dirname(join(toy, file)), { recursive: true });
  writeFileSync(join(toy, file), text);
}

function contents(): (readonly [string, string])[] {
  return readdirSync(toy, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name))
    .sort()
    .map((path) => [path, readFileSync(path, 'utf8')] as const);
}

/** Change and verdict of each. */
function verdicts(results: readonly MutantResult[]): string[] {
  return results.map(({ before, after, status, by }) =>
    `${before} -> ${after}: ${status} ${by ?? ''}`.trim(),
  );
}

test('a mutant that a test notices is killed by it, another survives, and so does one that no test reaches', async () => {
  const before = contents();
  const results = await runCampaign({ packageFolder: toy, files: ['src/bits.ts', 'src/unused.ts'], jobs: 2 });
  expect(verdicts(results)).toEqual([
    '& -> |: killed test/bits.test.ts',
    '0b11 -> 0b01: killed test/bits.test.ts',
    '0b11 -> 0b10: killed test/bits.test.ts',
    '0b11 -> 0b111: survived',
    '~ -> : survived',
  ]);
  expect(scoreTable(results).split('\n').slice(2)).toEqual([
    '| src/bits.ts | 4 | 3 | 0 | 1 | 75.0 % |',
    '| src/unused.ts | 1 | 0 | 0 | 1 | 0.0 % |',
    '| all | 5 | 3 | 0 | 2 | 60.0 % |',
  ]);
  expect(mutantLine(results[3] as MutantResult)).toBe(
    'survived  #4 src/bits.ts:1:57  0b11 -> 0b111  export const lowBits = (word: number): number => word & 0b11;',
  );
  expect(contents()).toEqual(before); // the package itself is only read
});

test('a loop that a mutant makes endless is ended and counted as timed out', async () => {
  const files = ['src/count.ts'];
  const endless = mutantsOf(toy, files).filter(({ after }) => after === '|=');
  const only = endless.map(({ number }) => number);
  const results = await runCampaign({ packageFolder: toy, files, only });
  expect(verdicts(results)).toEqual(['&= -> |=: timed out test/count.test.ts']);
});

test('a package whose tests fail as it stands is refused', async () => {
  write('src/bits.ts', `export const lowBits = (word: number): number => word & 0b1;\n`);
  await expect(runCampaign({ packageFolder: toy, files: ['src/bits.ts'] })).rejects.toThrow(
    'test/bits.test.ts failed without any mutant',
  );
});
