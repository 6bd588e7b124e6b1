// Runs Jest in the package of the working directory, once a message. A process of its own, so that it can be ended.
import { fileURLToPath } from 'node:url';
import { runCLI } from 'jest';

const folder = process.cwd();
const NO_SHRINKING = fileURLToPath(new URL('no-shrinking.mjs', import.meta.url));

process.on('message', ({ cacheDirectory, ...request }) => {
  const common = { $0: '', watchman: false, cacheDirectory, ci: true };
  const answer =
    request.test === undefined ? listed(request.reaching, common) : verdict(request.test, common);
  answer.then(
    (message) => process.send(message),
    (error) => process.send({ passes: false, error: String(error) }),
  );
});

async function verdict(test, common) {
  const { results } = await runCLI(
    {
      ...common,
      _: [test],
      setupFilesAfterEnv: [NO_SHRINKING],
      runTestsByPath: true,
      runInBand: true,
      reporters: [],
      silent: true,
    },
    [folder],
  );
  return { passes: results.success };
}

/** The test files, or those that import a file, directly or not. Jest prints them. */
async function listed(reaching, common) {
  const selection = reaching === undefined ? { _: [] } : { _: [reaching], findRelatedTests: true };
  const printed = [];
  const { log } = console;
  console.log = (text) => printed.push(text);
  try {
    await runCLI({ ...common, ...selection, listTests: true, json: true, passWithNoTests: true }, [folder]);
  } finally {
    console.log = log;
  }
  return { passes: true, files: JSON.parse(printed.join('')) };
}
