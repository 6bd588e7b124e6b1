// Random programs and the soak, for longer than a test may take: 100 000 programs of a new seed on single ways with the
// checker, as many over all ways, and a million calls of each soak, unless FC_RUNS and FC_SEED say otherwise. Arguments go to
// Jest.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const jest = fileURLToPath(new URL('lab-jest.mjs', import.meta.resolve('@iommu-lab/jest-preset')));
const run = spawnSync(process.execPath, [jest, 'driver-programs', 'soak', ...process.argv.slice(2)], {
  stdio: 'inherit',
  env: { FC_SEED: 'random', FC_RUNS: '100000', ...process.env },
});
if (run.error) throw run.error;
process.exitCode = run.status ?? 1; // null: ended by a signal
