/** The bench files of one package, bundled from the sources so that a process of plain Node runs them. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { build } from 'esbuild';
import type { BenchCase } from './bench-case.ts';

/** This tool: where it is, and what it is bundled with itself. */
export interface Tool {
  readonly folder: string;
  readonly build: typeof build;
}

/** A bench file, and the module it has become. */
export interface BundledSuite {
  readonly file: string;
  readonly module: string;
  readonly cases: readonly BenchCase[];
}

/**
 * Bundles `folder`/bench/*.bench.ts into `into`.
 * @throws Error if there is none, or one has no cases, or two cases have one name
 */
export async function bundleSuites(
  folder: string,
  into: string,
  tool: Tool,
): Promise<readonly BundledSuite[]> {
  const benchFolder = join(folder, 'bench');
  const files = existsSync(benchFolder)
    ? readdirSync(benchFolder)
        .filter((file) => file.endsWith('.bench.ts'))
        .sort()
    : [];
  if (files.length === 0) throw new Error(`${folder} has no bench/*.bench.ts`);
  const suites: BundledSuite[] = [];
  for (const file of files) {
    const module = join(into, file.replace(/\.ts$/, '.mjs'));
    await tool.build({
      stdin: { contents: entryOf(file, tool), resolveDir: benchFolder, loader: 'ts' },
      outfile: module,
      bundle: true,
      platform: 'node',
      format: 'esm',
      target: 'node20',
      conditions: ['@iommu-lab/source'],
      logLevel: 'error',
    });
    const { cases } = (await import(pathToFileURL(module).href)) as { cases?: readonly BenchCase[] };
    if (!Array.isArray(cases) || cases.length === 0)
      throw new Error(`${file} exports no cases as its default`);
    suites.push({ file, module, cases: cases as readonly BenchCase[] });
  }
  const names = suites.flatMap(({ cases }) => cases.map(({ name }) => name));
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new Error(`two cases are named '${twice}'`);
  return suites;
}

function entryOf(file: string, tool: Tool): string {
  const worker = JSON.stringify(join(tool.folder, 'src', 'worker.ts'));
  return `export { default as cases } from './${file}';\nexport { measure } from ${worker};\n`;
}
