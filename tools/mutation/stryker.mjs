import { fileURLToPath } from 'node:url';

const NO_SHRINKING = fileURLToPath(new URL('no-shrinking.mjs', import.meta.url));

/**
 * Options of Stryker for a package of this workspace.
 * @param mutate files, relative to the package
 */
export function strykerOptions(mutate) {
  return {
    mutate,
    testRunner: 'jest-by-file',
    plugins: [import.meta.resolve('./stryker-runner.mjs')],
    testRunnerNodeArgs: ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning'],
    coverageAnalysis: 'perTest',
    timeoutMS: 60_000, // beside what the tests take: Jest starts once a file
    concurrency: 2,
    jest: { enableFindRelatedTests: false, config: { setupFilesAfterEnv: [NO_SHRINKING] } },
    disableTypeChecks: false,
    ignorePatterns: ['dist', 'coverage', '.jest', '.turbo', '.mutation'],
    incremental: false,
    reporters: ['progress-append-only', 'clear-text', 'html', 'json'],
    clearTextReporter: { allowColor: false, logTests: false, reportTests: false },
    tempDirName: '.stryker-tmp',
    htmlReporter: { fileName: '.mutation/stryker.html' },
    jsonReporter: { fileName: '.mutation/stryker.json' },
  };
}
