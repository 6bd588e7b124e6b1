import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { checkLayers, type LayerMap } from '../check.mjs';

const map: LayerMap = {
  scope: '@x/',
  tools: ['tsconfig'],
  packages: {
    base: { layer: 0, imports: [] },
    table: { layer: 1, imports: ['base'] },
    kit: { layer: 1, imports: ['base'] },
    hw: { layer: 2, imports: ['base', 'table/layout'] },
    devices: { layer: 2, imports: ['base', 'table'], folders: { 'src/models': ['base'] } },
    peer: { layer: 1, imports: ['base'], testImports: ['kit'] },
  },
};

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'layers-'));
  for (const folder of Object.keys(map.packages)) manifest(folder, {});
});
afterEach(() => {
  rmSync(root, { recursive: true });
});

function write(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

function manifest(folder: string, fields: Record<string, string[]>): void {
  const lists = Object.entries(fields).map(([field, names]) => [
    field,
    Object.fromEntries(names.map((name) => [name, 'workspace:^'])),
  ]);
  const value = { name: `@x/${folder}`, ...Object.fromEntries(lists) };
  write(`packages/${folder}/package.json`, JSON.stringify(value, null, 2));
}

function problems(): string[] {
  return checkLayers(root, map).problems;
}

describe('allowed', () => {
  test('imports that the map names and the manifest declares', () => {
    manifest('hw', { dependencies: ['@x/base', '@x/table', 'external'], devDependencies: ['@x/tsconfig'] });
    write(
      'packages/hw/src/a.ts',
      `import '@x/base';\nimport '@x/base/sub';\nimport '@x/table/layout';\nimport 'external/sub';\nimport './b.ts';\n`,
    );
    write('packages/hw/test/a.test.ts', `import '@x/hw';\nimport '@x/table';\nimport '../src/a.ts';\n`);
    expect(checkLayers(root, map)).toEqual({ problems: [], imports: 8 });
  });

  test('a devDependency of the same layer that the map names', () => {
    manifest('peer', { devDependencies: ['@x/kit'] });
    write('packages/peer/test/a.test.ts', `import '@x/kit';`);
    expect(problems()).toEqual([]);
  });

  test('benchmarks as tests: lower layers, and the package itself', () => {
    manifest('table', { devDependencies: ['@x/base'] });
    write('packages/table/bench/a.bench.ts', `import '@x/base';\nimport '../src/a.ts';\n`);
    expect(problems()).toEqual([]);
    write('packages/table/bench/b.bench.ts', `import '@x/hw';`);
    expect(problems()).toEqual([expect.stringContaining("table/bench/b.bench.ts:1: the tests of 'table'")]);
  });

  test('text that only looks like an import', () => {
    write(
      'packages/base/src/a.ts',
      `// import '@x/hw'\nexport const a: string = "import '@x/hw'" + \`require('@x/hw')\`;`,
    );
    expect(problems()).toEqual([]);
  });
});

describe('refused, with file and line', () => {
  test.each([
    ['static import', `import { a } from '@x/hw';`],
    ['import of types only', `import type { A } from '@x/hw';`],
    ['inline type', `export type A = import('@x/hw').A;`],
    ['re-export', `export * from '@x/hw';`],
    ['re-export of types only', `export type { A } from '@x/hw';`],
    ['dynamic import', `export const a = () => import('@x/hw');`],
    ['import by require', `import a = require('@x/hw');`],
    ['require', `require('@x/hw');`],
    ['augmentation', `declare module '@x/hw' {}`],
  ])('upward: %s', (_name, line) => {
    write('packages/base/src/deep/a.ts', `\n\n${line}\n`);
    expect(problems()).toEqual([
      "packages/base/src/deep/a.ts:3: '@x/hw' is not allowed here. It may import no other package.",
    ]);
  });

  test('an upward import from a test', () => {
    manifest('base', { devDependencies: [] });
    write('packages/base/test/a.test.ts', `import '@x/hw';`);
    expect(problems()).toEqual([
      expect.stringMatching(
        /^packages\/base\/test\/a\.test\.ts:1: the tests of 'base' .* may not import '@x\/hw'/,
      ),
    ]);
  });

  test('a sub-path that is not the allowed one, and the whole package', () => {
    manifest('hw', { dependencies: ['@x/table'] });
    write('packages/hw/src/a.ts', `import '@x/table';\nimport '@x/table/layout/inner';\n`);
    expect(problems()).toEqual([
      "packages/hw/src/a.ts:1: '@x/table' is not allowed here. Allowed: base, table/layout.",
      "packages/hw/src/a.ts:2: '@x/table/layout/inner' is not allowed here. Allowed: base, table/layout.",
    ]);
  });

  test.each(['dependencies', 'peerDependencies', 'optionalDependencies'])('%s outside the map', (field) => {
    manifest('table', { [field]: ['@x/kit'] });
    expect(problems()).toEqual([
      `packages/table/package.json:4: ${field} has '@x/kit', which the map does not allow to 'table'. Allowed: base.`,
    ]);
  });

  test('devDependency on a package of the same or a higher layer', () => {
    manifest('table', { devDependencies: ['@x/kit', '@x/hw'] });
    expect(problems()).toEqual([
      expect.stringMatching(/^packages\/table\/package\.json:4: devDependencies has '@x\/kit' of layer 1/),
      expect.stringMatching(/^packages\/table\/package\.json:5: devDependencies has '@x\/hw' of layer 2/),
    ]);
  });

  test('a tool as a dependency, and a scoped package without a row', () => {
    manifest('table', { dependencies: ['@x/tsconfig'], devDependencies: ['@x/ghost'] });
    expect(problems()).toEqual([
      expect.stringContaining("the tool '@x/tsconfig'"),
      expect.stringContaining("'@x/ghost', which is not in the map"),
    ]);
  });

  test('an allowed package that is not declared, or only for tests', () => {
    manifest('table', { devDependencies: ['@x/base'] });
    write('packages/table/src/a.ts', `import '@x/base';\n`);
    manifest('hw', {});
    write('packages/hw/test/a.test.ts', `import '@x/base';\n`);
    expect(problems()).toEqual([
      "packages/hw/test/a.test.ts:1: '@x/base' is allowed but not declared. Add it to devDependencies of packages/hw.",
      "packages/table/src/a.ts:1: '@x/base' is allowed but not declared. Add it to dependencies of packages/table.",
    ]);
  });

  test('an external package that is not declared', () => {
    write('packages/base/src/a.ts', `import type { A } from '@other/a/b';\n`);
    expect(problems()).toEqual([
      "packages/base/src/a.ts:1: '@other/a' is not declared. Add it to dependencies of packages/base.",
    ]);
  });

  test('relative imports that leave the package, or src for tests', () => {
    write('packages/table/src/a.ts', `import '../../base/src/index.ts';\nimport '../test/helper.ts';\n`);
    write('packages/table/test/a.test.ts', `import '../../base/src/index.ts';\n`);
    expect(problems()).toEqual([
      expect.stringMatching(/^packages\/table\/src\/a\.ts:1: .* leaves the package/),
      expect.stringMatching(/^packages\/table\/src\/a\.ts:2: .* leaves src/),
      expect.stringMatching(/^packages\/table\/test\/a\.test\.ts:1: .* leaves the package/),
    ]);
  });

  test('a folder with a narrower list, directly and by way of its neighbour', () => {
    manifest('devices', { dependencies: ['@x/base', '@x/table'] });
    write('packages/devices/src/models/a.ts', `import '@x/base';\nimport '@x/table';\nimport '../b.ts';\n`);
    write('packages/devices/src/b.ts', `import '@x/table';\nimport './models/a.ts';\n`);
    expect(problems()).toEqual([
      "packages/devices/src/models/a.ts:2: '@x/table' is not allowed here. Allowed: base.",
      "packages/devices/src/models/a.ts:3: '../b.ts' may import more than this folder may (table). Move the shared part here.",
    ]);
  });

  test('a cycle', () => {
    manifest('base', { devDependencies: ['@x/table'] });
    manifest('table', { dependencies: ['@x/base'] });
    expect(problems()).toContainEqual(
      'packages/base/package.json:1: dependency cycle: base -> table -> base. Move the shared part to a lower layer.',
    );
  });

  test('a dynamic import of a computed name, an absolute path, and the package itself', () => {
    write(
      'packages/base/src/a.ts',
      `export const a = (n: string) => import(n);\nimport '/x.ts';\nimport '@x/base';\n`,
    );
    expect(problems()).toEqual([
      expect.stringContaining('a.ts:1: a dynamic import of a computed name'),
      expect.stringContaining("a.ts:2: '/x.ts' is an absolute path"),
      expect.stringContaining("a.ts:3: '@x/base' is the package itself"),
    ]);
  });

  test('a package without a row, and a row without a package', () => {
    manifest('stray', {});
    rmSync(join(root, 'packages/peer'), { recursive: true });
    expect(problems()).toEqual([
      expect.stringContaining("'peer' has a row but no folder"),
      expect.stringContaining("'stray' is not in the map"),
    ]);
  });

  test('a map that points upwards', () => {
    const upward: LayerMap = {
      ...map,
      packages: { ...map.packages, base: { layer: 0, imports: ['table'] } },
    };
    expect(checkLayers(root, upward).problems).toEqual([
      "tools/layers/layers.json:1: 'base' (layer 0) names 'table' of the higher layer 1. Move one.",
    ]);
  });
});
