/** The command line: parses, dispatches, and turns every mistake of its user into one line and exit code 2. */
import { readFileSync } from 'node:fs';
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { boards } from './commands/boards.ts';
import { run } from './commands/run.ts';
import { scenarios } from './commands/scenarios.ts';
import { UserError, userErrorFrom } from './user-error.ts';

/** 0: as it should be; 1: it ran, and something was not as it should be; 2: it could not run as asked. */
export type ExitCode = 0 | 1 | 2;

/**
 * Runs `iommu-lab ARGV` in this process.
 * @returns the exit code; anything but a mistake of the user is thrown
 */
export async function main(argv: readonly string[]): Promise<ExitCode> {
  let exitCode: ExitCode = 0;
  const program = new Command('iommu-lab')
    .description('An executable model of the Linux IOMMU stack: a sanitizer for DMA.')
    .version(version())
    .exitOverride()
    .configureOutput({ writeErr: () => undefined })
    .showSuggestionAfterError();

  program
    .command('run')
    .description('play a scenario and write what came of it')
    .argument('[scenario]', 'a scenario file, or the name of one that comes with iommu-lab', 'default')
    .option('--board <name>', 'the machine to play it on, in place of the one it names')
    .option('--image <in.png>', 'what the camera sees; a test card unless given')
    .option('--frames <N>', 'pictures a pipeline carries', positiveInteger)
    .option('--out <DIR>', 'folder for pictures, report, timings and events', 'iommu-lab-out')
    .option('--seed <N>', 'scatters page frames and times the cache, in place of its own', seed)
    .option('--json', 'the report as JSON on standard output, in place of the summary')
    .action(async (scenario: string, options: Parameters<typeof run>[1]) => {
      exitCode = (await run(scenario, options)) ? 0 : 1;
    });
  program.command('boards').description('the machines there are, and their IOMMUs').action(boards);
  program.command('scenarios').description('the scenarios that come with iommu-lab').action(scenarios);

  try {
    await program.parseAsync(argv, { from: 'user' });
    return exitCode;
  } catch (error) {
    return explain(error);
  }
}

function explain(error: unknown): ExitCode {
  if (error instanceof CommanderError) {
    // Help and version have been printed; they arrive here as "errors" of exit code 0, or 1 for a missing command.
    if (error.exitCode === 0) return 0;
    if (error.code === 'commander.help') {
      process.stderr.write('iommu-lab: no command given; `iommu-lab --help` lists them\n');
      return 2;
    }
    const text = error.message
      .replace(/^error: /, '')
      .replace(/\n/g, ' ')
      .replace(' is invalid. It must', ' is invalid: it must')
      .replace(/\.$/, '');
    process.stderr.write(`iommu-lab: ${text}; \`iommu-lab --help\` shows what there is\n`);
    return 2;
  }
  const userError = error instanceof UserError ? error : userErrorFrom(error);
  if (userError === undefined) throw error;
  process.stderr.write(`iommu-lab: ${userError.message}\n`);
  return 2;
}

function positiveInteger(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 1 || value > 10_000) {
    throw new InvalidArgumentError('It must be a whole number from 1 to 10000.');
  }
  return value;
}

function seed(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value > 0x7fffffff) {
    throw new InvalidArgumentError('It must be a whole number from 0 to 2147483647.');
  }
  return value;
}

function version(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  return (manifest as { version: string }).version;
}
