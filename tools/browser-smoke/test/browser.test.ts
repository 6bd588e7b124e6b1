// Bundles every library for a browser and runs it with only what a browser and a worker both have.
// programs/<package>.ts, where present, does more than load the package: its `run()` must not throw.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createContext, runInContext } from 'node:vm';
import { describe, expect, test } from '@jest/globals';
import { build } from 'esbuild';

const home = fileURLToPath(new URL('..', import.meta.url));
const packages = join(home, '../../packages');
const NOT_FOR_BROWSERS = ['cli', 'iommu-compliance']; // a command line, and a kit that runs in jest

interface Manifest {
  name: string;
  exports: Record<string, unknown>;
  devDependencies?: Record<string, string>;
}

interface Bundle {
  loaded?: Record<string, unknown>;
  run?: () => unknown;
}

function readManifest(folder: string): Manifest {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest;
}

async function runInBrowser(script: string): Promise<Bundle> {
  const { outputFiles } = await build({
    stdin: { contents: script, resolveDir: home, loader: 'ts' },
    bundle: true,
    write: false,
    platform: 'browser',
    format: 'iife',
    globalName: 'bundle',
    target: 'es2022',
    conditions: ['@iommu-lab/source'],
    logLevel: 'silent',
  });
  const context = createContext({ console, TextEncoder, TextDecoder, structuredClone });
  return runInContext(`${outputFiles[0]!.text}; bundle`, context) as Bundle;
}

const libraries = readdirSync(packages).filter((folder) => !NOT_FOR_BROWSERS.includes(folder));

test('every library is a devDependency here, so that a change to it runs this again', () => {
  const own = readManifest(home).devDependencies ?? {};
  const names = libraries.map((folder) => readManifest(join(packages, folder)).name);
  expect(names.filter((name) => own[name] === undefined)).toEqual([]);
});

describe.each(libraries)('%s', (folder) => {
  const { name, exports } = readManifest(join(packages, folder));
  const entries = Object.keys(exports).filter((entry) => entry !== './package.json');

  test.each(entries)('loads %s', async (entry) => {
    const specifier = name + entry.slice(1);
    const { loaded } = await runInBrowser(`import * as loaded from '${specifier}'; export { loaded };`);
    expect(Object.keys(loaded!)).not.toHaveLength(0);
    expect(Object.entries(loaded!).filter(([, value]) => value === undefined)).toEqual([]);
  });

  if (existsSync(join(home, `programs/${folder}.ts`))) {
    test('runs its program', async () => {
      const { run } = await runInBrowser(`export { run } from './programs/${folder}.ts';`);
      expect(run).toBeDefined();
      await run!();
    });
  }
});

test.each([
  ['a Node module', `import 'node:fs';`, 'node:fs'],
  ['a Node module by its old name', `import 'path';`, 'path'],
  ['a package that is not there', `import 'no-such-package';`, 'no-such-package'],
  ['a Node global', `process.exit(0);`, 'process is not defined'],
])('refuses %s', async (_name, script, message) => {
  await expect(runInBrowser(script)).rejects.toThrow(message);
});
