/** What TUTORIAL.md shows is what runs: its code, the ways to get it wrong, and what the kit then says. */
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { describe, expect, test } from '@jest/globals';
import type { IommuInstance, PagingTable, ProcessTable } from '@iommu-lab/iommu-core';
import { runReadme } from '@iommu-lab/readme-test';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const CODE = join(ROOT, 'test/tutorial');
const TUTORIAL = readFileSync(join(ROOT, 'TUTORIAL.md'), 'utf8');

/** Every operation of the driver port; the compiler knows when one is missing. */
const OPERATIONS: Readonly<Record<keyof IommuInstance | keyof PagingTable | keyof ProcessTable, true>> = {
  name: true,
  provider: true,
  capabilities: true,
  tableKey: true,
  probeEndpoint: true,
  createPagingTable: true,
  attach: true,
  release: true,
  reservedRegions: true,
  createProcessTable: true,
  resume: true,
  tableBytes: true,
  mapPages: true,
  syncMap: true,
  unmapPages: true,
  sync: true,
  iovaToPhys: true,
  walk: true,
  destroy: true,
  setDirtyTracking: true,
  visitDirty: true,
  invalidate: true,
};

interface Mistake {
  /** In the tutorial's backend, or `backend-flat/…` in this package. */
  readonly file: string;
  readonly before: string;
  readonly after: string;
  /** `aspect: check`, then the error; a long one ends in `…`. */
  readonly says: string;
}

function blocks(pattern: RegExp): readonly string[][] {
  return [...TUTORIAL.matchAll(pattern)].map((match) => match.slice(1));
}

/** A `diff` block with the file's name in its first line, and the `text` block behind it. */
function mistakes(): readonly Mistake[] {
  return blocks(/^```diff\n--- (\S+)\n(.*?)^```\n\n```text\n(.*?)^```$/gms).map(([file, diff, says]) => {
    const lines = (diff as string).trimEnd().split('\n');
    const side = (sign: string): string =>
      lines
        .filter((line) => line.startsWith(' ') || line.startsWith(sign))
        .map((line) => `${line.slice(1)}\n`)
        .join('');
    return { file: file as string, before: side('-'), after: side('+'), says: says as string };
  });
}

/** A README that makes the mistake's backend run the check that `says` names, and says what it must print. */
function readmeOf({ says }: Mistake): string {
  const name = says.slice(0, says.indexOf('\n'));
  const cut = says.endsWith('…\n') ? says.length - '…\n'.length : Infinity;
  return `
\`\`\`ts
import { COMPLIANCE_CHECKS, runComplianceChecks } from '@iommu-lab/iommu-compliance';
import * as fixture from './fixture.ts';

const create = () => Object.values(fixture)[0]();
const checks = COMPLIANCE_CHECKS.filter((c) => \`\${c.aspect}: \${c.name}\` === ${JSON.stringify(name)});
for (const { aspect, name, error } of runComplianceChecks({ name: 'mistaken', create }, checks)) {
  const verdict = \`\${aspect}: \${name}\\n  \${error}\`;
  console.log(verdict.length > ${cut} ? \`\${verdict.slice(0, ${cut})}…\` : verdict);
}
\`\`\`

\`\`\`text
${says}\`\`\`
`;
}

/** Makes the mistake in a copy of the backend and runs it. @throws Error when the kit says something else */
async function runMistaken(mistake: Mistake): Promise<readonly string[]> {
  const { before, after } = mistake;
  const isFlat = mistake.file.startsWith('backend-flat/');
  const [from, file] = isFlat ? [ROOT, mistake.file.slice('backend-flat/'.length)] : [CODE, mistake.file];
  // Inside the package, so that its imports resolve as the package's own do; in a folder that Git ignores.
  mkdirSync(join(ROOT, '.jest'), { recursive: true });
  const copy = mkdtempSync(join(ROOT, '.jest/tutorial-'));
  try {
    for (const part of ['src', 'test/fixture.ts'])
      cpSync(join(from, part), join(copy, part), { recursive: true });
    const parts = readFileSync(join(copy, file), 'utf8').split(before);
    if (parts.length !== 2) throw new Error(`${file} has ${parts.length - 1} places like\n${before}`);
    writeFileSync(join(copy, file), parts.join(after));
    writeFileSync(join(copy, 'README.md'), readmeOf(mistake));
    return await runReadme(pathToFileURL(join(copy, 'test/mistake.test.ts')).href);
  } finally {
    rmSync(copy, { recursive: true });
  }
}

describe('TUTORIAL.md', () => {
  test('quotes every file of its backend, byte for byte', () => {
    const quoted = blocks(/^`((?:src|test)\/\S+\.ts)`:\n\n```ts\n(.*?)^```$/gms);
    const files = ['src', 'test'].flatMap((folder) =>
      readdirSync(join(CODE, folder)).map((name) => `${folder}/${name}`),
    );
    expect(quoted).toHaveLength(files.length);
    expect(new Set(quoted.map(([file]) => file))).toEqual(new Set(files));
    for (const [file, code] of quoted) {
      expect([file, code]).toEqual([file, readFileSync(join(CODE, file as string), 'utf8')]);
    }
    expect(blocks(/^(```ts)$/gm)).toHaveLength(quoted.length);
  });

  test.each(Object.keys(OPERATIONS))('has a paragraph about %s', (operation) => {
    expect(TUTORIAL).toMatch(new RegExp(`^(#+ |- \\*\\*|\\| )\`${operation}\``, 'm'));
  });

  test('links to files that are there', () => {
    const links = blocks(/\]\((?!https?:|#)([^)#]+)/g).flat();
    expect(links.filter((link) => !existsSync(join(dirname(join(ROOT, 'TUTORIAL.md')), link)))).toEqual([]);
  });

  test('shows a failure for each of its mistakes', () => {
    expect(mistakes()).toHaveLength(blocks(/^(```diff)$/gm).length);
  });

  test.each(
    mistakes().map((mistake) => [`${mistake.file}: ${mistake.says.split('\n')[0]}`, mistake] as const),
  )('a mistake in %s', async (_name, mistake) => {
    expect(await runMistaken(mistake)).toEqual([mistake.says]);
  });
});
