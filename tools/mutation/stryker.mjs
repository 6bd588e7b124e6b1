/**
 * Options of Stryker for a package of this workspace.
 * @param mutate files, relative to the package
 */
export function strykerOptions(mutate) {
  return {
    mutate,
    testRunner: 'jest',
    // By address: Stryker looks for plugins beside itself, where pnpm puts nothing that it does not depend on.
    plugins: [import.meta.resolve('@stryker-mutator/jest-runner')],
    testRunnerNodeArgs: ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning'],
    coverageAnalysis: 'perTest',
    timeoutMS: 20_000, // more than one slow test on a busy machine
    concurrency: 2,
    jest: { enableFindRelatedTests: false },
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
