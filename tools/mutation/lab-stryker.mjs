#!/usr/bin/env node
// Stryker's own command line, in a copy of the package in the working directory. The reports come back.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { withoutAssertions } from './erase-assertions.mjs';
import { copyWorkspace } from './workspace-copy.mjs';

const STRYKER = fileURLToPath(
  new URL('bin/stryker.js', import.meta.resolve('@stryker-mutator/core/package.json')),
);
const REPORTS = '.mutation';

const scratch = realpathSync(mkdtempSync(join(tmpdir(), 'lab-stryker-')));
process.once('exit', () => rmSync(scratch, { recursive: true, force: true }));

const copy = copyWorkspace(process.cwd(), scratch);
for (const name of readdirSync(join(copy, 'src'), { recursive: true })) {
  if (!name.endsWith('.ts')) continue;
  const path = join(copy, 'src', name);
  writeFileSync(path, withoutAssertions(name, readFileSync(path, 'utf8')));
}
const stryker = spawn(process.execPath, [STRYKER, ...process.argv.slice(2)], { cwd: copy, stdio: 'inherit' });
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => stryker.kill(signal));
const [status] = await once(stryker, 'exit');
if (existsSync(join(copy, REPORTS))) cpSync(join(copy, REPORTS), resolve(REPORTS), { recursive: true });
process.exitCode = status ?? 1; // null: ended by a signal
