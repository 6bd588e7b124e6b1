/** ARCHITECTURE.md speaks of files, functions and layers: all of them are there, and the map is the one that is checked. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';

const ROOT = new URL('../../../', import.meta.url);
const text = readFileSync(new URL('ARCHITECTURE.md', ROOT), 'utf8');
const layers = JSON.parse(readFileSync(new URL('../layers.json', import.meta.url), 'utf8')) as {
  packages: Record<string, { layer: number; imports: string[]; name?: string }>;
};

test('every function of the walk stands in the file it is said to be in', () => {
  const steps = [...text.matchAll(/\]\((packages\/[^)]+)\) `([^`]+)`/g)];
  expect(steps.length).toBeGreaterThan(30);
  const missing = steps.filter(([, file = '', name = '']) => {
    const path = fileURLToPath(new URL(file, ROOT));
    return !existsSync(path) || !readFileSync(path, 'utf8').includes(name);
  });
  expect(missing.map(([match]) => match)).toEqual([]);
});

test('the table has the layers of the map, and their imports where it lists them', () => {
  const rows = [...text.matchAll(/^\| (\d) +\| `([a-z-]+)` +\|.*\| ([^|]+?) +\|$/gm)].map(
    ([, layer, name, imports = '']) => ({ layer: Number(layer), name, imports }),
  );
  expect(rows.map(({ layer, name }) => [layer, name])).toEqual(
    Object.entries(layers.packages).map(([folder, row]) => [row.layer, row.name ?? folder]),
  );
  // "as named" and "all above but ..." are in words.
  const lists = rows.filter(({ imports }) => !/named|all above/.test(imports));
  const sorted = (names: readonly string[] = []): string[] => [...names].sort();
  expect(
    lists.map(({ name, imports }) => [
      name,
      sorted(imports === 'nothing' ? [] : imports.replaceAll('`', '').split(', ')),
    ]),
  ).toEqual(
    lists.map(({ name = '' }) => [
      name,
      sorted(layers.packages[name === 'iommu-lab' ? 'cli' : name]?.imports),
    ]),
  );
});

test('every rule number that code, tests and READMEs cite stands in the hardware manual', () => {
  const manual = readFileSync(new URL('packages/smmu-hw/MANUAL.md', ROOT), 'utf8');
  const rules = new Set(manual.match(/\bR\d{1,2}\b/g));
  const cited = filesUnder('packages').flatMap((file) =>
    [...new Set(readFileSync(file, 'utf8').match(/\bR\d{1,2}\b/g))].map((rule) => `${rule} in ${file}`),
  );
  expect(cited.length).toBeGreaterThan(30);
  expect(cited.filter((line) => !rules.has(line.split(' ')[0] ?? ''))).toEqual([]);
});

function filesUnder(folder: string): string[] {
  const root = fileURLToPath(new URL(folder, ROOT));
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((path) => !/node_modules|dist/.test(path) && /\.(ts|md)$/.test(path))
    .map((path) => join(root, path));
}
