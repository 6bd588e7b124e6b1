// Runs the command line from a checkout: builds what is missing, then hands over, in the folder the user is in.
import { spawn, spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const turbo = createRequire(import.meta.url).resolve('turbo/bin/turbo');

const build = await new Promise((resolve, reject) => {
  const child = spawn(
    process.execPath,
    [turbo, 'run', 'build', '--filter=iommu-lab...', '--output-logs=errors-only'],
    {
      cwd: root,
      env: {
        ...process.env,
        // turbo asks for pnpm, and who came by npx has none of their own
        PATH: [join(root, 'node_modules/.bin'), process.env.PATH].join(delimiter),
        TURBO_TELEMETRY_DISABLED: '1',
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  const notice = setTimeout(() => process.stderr.write('building…\n'), 1500);
  let log = '';
  child.stdout.on('data', (chunk) => (log += chunk));
  child.stderr.on('data', (chunk) => (log += chunk));
  child.on('error', reject);
  child.on('close', (status) => {
    clearTimeout(notice);
    resolve({ status, log });
  });
});
// Standard output belongs to the command: a program may be reading it.
if (build.status !== 0) {
  process.stderr.write(build.log);
  process.exit(2); // as the command line: it could not run as asked
}

const bin = fileURLToPath(new URL('../packages/cli/bin/iommu-lab.mjs', import.meta.url));
const run = spawnSync(process.execPath, [bin, ...process.argv.slice(2)], {
  cwd: process.env.INIT_CWD ?? process.cwd(), // package managers run a script in the package's folder
  stdio: 'inherit',
});
if (run.error) throw run.error;
if (run.signal) process.kill(process.pid, run.signal); // ends as the command did: a shell stops its loop
process.exitCode = run.status ?? 1;
