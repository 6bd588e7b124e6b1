import { fork } from 'node:child_process';
import { relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

const WORKER = fileURLToPath(new URL('worker.mjs', import.meta.url));
/** Jest does not give all the memory of a run back. */
const RUNS_OF_A_WORKER = 150;

/** Runs the tests of the package in one folder, one file at a time, in a process that lasts as long as it behaves. */
export class TestRunner {
  #cacheDirectory;
  #env;
  #worker;
  #runs = 0;

  constructor(folder, cacheDirectory, env) {
    this.folder = folder;
    this.#cacheDirectory = cacheDirectory;
    this.#env = { ...process.env, NODE_OPTIONS: '', ...env };
  }

  run(test, limitMs) {
    return this.#ask({ test }, limitMs);
  }

  /** All test files; with `reaching` those that import that file, directly or not. */
  async testFiles(reaching) {
    // Jest follows imports inside the package only.
    const isOutside = reaching?.startsWith('../');
    const { files, error } = await this.#ask({ reaching: isOutside ? undefined : reaching });
    if (files === undefined) throw new Error(`Jest cannot list the tests: ${error}`);
    return files.map((path) => relative(this.folder, path).split(sep).join('/')).sort();
  }

  stop() {
    this.#worker?.kill('SIGKILL');
    this.#worker = undefined;
  }

  #ask(request, limitMs) {
    if (this.#runs++ % RUNS_OF_A_WORKER === 0) this.stop();
    this.#worker ??= fork(WORKER, {
      cwd: this.folder,
      env: this.#env,
      execArgv: ['--experimental-vm-modules', '--no-warnings'],
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    });
    const worker = this.#worker;
    const start = performance.now();
    return new Promise((resolve) => {
      let timer;
      const finish = (outcome, rest) => {
        clearTimeout(timer);
        worker.removeAllListeners();
        if (outcome === 'timed out' || outcome === 'crashed') this.stop();
        resolve({ outcome, ms: performance.now() - start, ...rest });
      };
      if (limitMs !== undefined) timer = setTimeout(() => finish('timed out'), limitMs);
      worker.on('message', ({ passes, ...rest }) => finish(passes ? 'passed' : 'failed', rest));
      worker.on('error', (error) => finish('crashed', { error: error.message }));
      worker.on('exit', () => finish('crashed'));
      worker.send({ ...request, cacheDirectory: this.#cacheDirectory });
    });
  }
}
