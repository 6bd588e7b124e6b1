#!/usr/bin/env node
// The sources are TypeScript: they are bundled first, as the bench files are.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const folder = import.meta.dirname;
const temporary = mkdtempSync(join(tmpdir(), 'lab-bench-'));
const outfile = join(temporary, 'main.mjs');
await build({
  entryPoints: [join(folder, 'src/main.ts')],
  outfile,
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  logLevel: 'error',
});
const { main } = await import(pathToFileURL(outfile).href);
rmSync(temporary, { recursive: true });
process.exitCode = await main(process.argv.slice(2), { folder, build });
