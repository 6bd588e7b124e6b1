/**
 * The bench files of one package, bundled so that a process of plain Node runs them. What they measure is not in the
 * bundle: it is the built packages, module by module, as a user's Node loads them. (A bundler makes variables of
 * top-level constants, and code on a hot path 10 to 25 % slower with it.)
 */
import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve, sep } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Plugin, build } from 'esbuild';
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
      plugins: [builtPackages(folder)],
      logLevel: 'silent',
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

/** Leaves the package's own sources, and other packages of the workspace, to Node: as they were built. */
function builtPackages(folder: string): Plugin {
  const sources = join(folder, 'src');
  const entry = join(folder, 'dist', 'index.js');
  if (existsSync(sources) && !existsSync(entry)) throw new Error(`${entry} is not there: build first`);
  const require = createRequire(join(folder, 'package.json'));
  const built = (path: string): { path: string; external: true } => ({
    path: pathToFileURL(path).href,
    external: true,
  });
  return {
    name: 'built-packages',
    setup(bundle) {
      bundle.onResolve({ filter: /^@iommu-lab\// }, ({ path }) =>
        path === '@iommu-lab/bench' ? undefined : built(require.resolve(path)),
      );
      bundle.onResolve({ filter: /^\.\.?\// }, ({ path, importer, resolveDir }) => {
        const target = resolve(importer === '<stdin>' ? resolveDir : dirname(importer), path);
        if (!target.startsWith(sources + sep)) return undefined;
        return built(join(folder, 'dist', target.slice(sources.length).replace(/\.ts$/, '.js')));
      });
    },
  };
}

function entryOf(file: string, tool: Tool): string {
  const worker = JSON.stringify(join(tool.folder, 'src', 'worker.ts'));
  return `export { default as cases } from './${file}';\nexport { measure } from ${worker};\n`;
}
