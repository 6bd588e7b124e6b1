/**
 * The README's driver test, as a stranger would run it: packed packages installed in a folder outside the workspace, a
 * Jest of its own, no TypeScript.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const MINUTES = 60_000;

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(realpathSync(tmpdir()), 'outside-consumer-'));
  const jest = /^ {2}jest: (\S+)$/m.exec(readFileSync(join(ROOT, 'pnpm-workspace.yaml'), 'utf8'))?.[1];
  const tarballs = pack(folder);
  writeFileSync(
    join(folder, 'package.json'),
    JSON.stringify({
      private: true,
      dependencies: tarballs,
      devDependencies: { jest, '@jest/globals': jest },
      // The packages ask for each other by version, and these versions are not published.
      pnpm: { overrides: tarballs },
    }),
  );
  writeFileSync(join(folder, 'jest.config.json'), '{"testMatch":["**/*.test.mjs"],"transform":{}}');
  pnpm(folder, 'install', '--ignore-workspace', '--prefer-offline', '--ignore-scripts');
}, 5 * MINUTES);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

test(
  "the README's driver test fails on its planted bug and prints why",
  () => {
    const { code, output } = readmeExample();
    const { status, printed } = runJest(code);
    expect(status).toBe(1);
    expect(withoutMargin(printed)).toContain(withoutMargin(output));
  },
  MINUTES,
);

test(
  'the same test passes once the driver waits for the device',
  () => {
    const { code } = readmeExample();
    const lines = code.split('\n');
    const early = lines.findIndex((line) => line.includes('// the bug'));
    const [unmap] = lines.splice(early, 1);
    const end = lines.findIndex((line) => line.includes('expectNoFaults'));
    expect(early).toBeGreaterThan(0);
    expect(end).toBeGreaterThan(0);
    lines.splice(end + 1, 0, unmap as string);
    const { status, printed } = runJest(lines.join('\n'));
    expect(printed).toContain('1 passed');
    expect(status).toBe(0);
  },
  MINUTES,
);

/** Packs `@iommu-lab/board` and all of ours that it needs: the tarball's path by package name. */
function pack(into: string): Readonly<Record<string, string>> {
  const printed = pnpm(
    ROOT,
    '--filter-prod',
    '@iommu-lab/board...',
    'pack',
    '--json',
    '--pack-destination',
    into,
  );
  const packed = JSON.parse(printed.slice(printed.indexOf('['))) as { name: string; filename: string }[];
  return Object.fromEntries(
    packed.map(({ name, filename }) => [name, `file:${join(into, basename(filename))}`]),
  );
}

/** Runs pnpm. @returns what it printed. @throws Error with that, when it fails */
function pnpm(cwd: string, ...args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync('pnpm', args, { cwd, encoding: 'utf8' });
  if (error !== undefined) throw error; // pnpm itself is not there
  if (status !== 0) throw new Error(`pnpm ${args.join(' ')} failed:\n${stdout}${stderr}`);
  return stdout;
}

/** The first `js` block of the project's README, and the `text` block behind it. */
function readmeExample(): { readonly code: string; readonly output: string } {
  const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
  const found = /^```js\n(.*?)^```$.*?^```text\n(.*?)^```$/ms.exec(readme);
  if (found === null) throw new Error('the README has no driver test with its output');
  return { code: found[1] as string, output: found[2] as string };
}

function runJest(code: string): { readonly status: number | null; readonly printed: string } {
  writeFileSync(join(folder, 'driver.test.mjs'), code);
  const run = spawnSync(
    process.execPath,
    ['--experimental-vm-modules', 'node_modules/jest/bin/jest.js', '--ci'],
    {
      cwd: folder,
      encoding: 'utf8',
      env: { ...process.env, NODE_OPTIONS: '', FORCE_COLOR: '0' },
    },
  );
  return { status: run.status, printed: run.stdout + run.stderr };
}

/** Jest indents what it prints of an error. */
function withoutMargin(text: string): string {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .join('\n');
}
