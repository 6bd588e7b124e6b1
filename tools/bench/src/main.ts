/** `lab-bench`. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Floor } from './floor.ts';
import { thisMachine } from './machine.ts';
import { USAGE, parseOptions, type Options } from './options.ts';
import { markdownReport, terminalReport, type Report } from './report.ts';
import { chosen, runSuites } from './run.ts';
import { bundleSuites, type Tool } from './suite.ts';

/** @returns the exit code: 1 if a case's results were wrong, 2 if it cannot begin. */
export async function main(args: readonly string[], tool: Tool): Promise<number> {
  let options: Options;
  try {
    options = parseOptions(args);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
    return 2;
  }
  if (options.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const temporary = mkdtempSync(join(tmpdir(), 'lab-bench-'));
  try {
    return await bench(options, tool, temporary);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    return 2;
  } finally {
    rmSync(temporary, { recursive: true });
  }
}

async function bench(options: Options, tool: Tool, temporary: string): Promise<number> {
  const folder = process.cwd();
  const suites = await bundleSuites(folder, temporary, tool);
  const names = suites.flatMap(({ cases }) => chosen(cases, options.only).map(({ name }) => name));
  if (names.length === 0) throw new Error(`no case is named like ${options.only.join(', ')}`);
  if (options.list) {
    process.stdout.write(`${names.join('\n')}\n`);
    return 0;
  }
  const floor = options.usesFloor ? Floor.find(join(tool.folder, 'floor'), temporary) : undefined;
  const cases = runSuites(suites, options, tool, floor, showProgress);
  showProgress('');
  const report: Report = {
    packageName: (JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { name: string }).name,
    machine: thisMachine(floor?.compiler),
    processes: options.processes,
    milliseconds: options.milliseconds,
    cases,
  };
  process.stdout.write(`${terminalReport(report)}\n`);
  if (options.markdown !== undefined)
    writeFileSync(options.markdown, markdownReport(report) + notesOf(folder));
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(report, null, 2)}\n`);
  return cases.some(({ error }) => error !== undefined) ? 1 : 0;
}

/** What people found out about the cases of a package: bench/NOTES.md ends its report. */
function notesOf(folder: string): string {
  const notes = join(folder, 'bench', 'NOTES.md');
  return existsSync(notes) ? `\n${readFileSync(notes, 'utf8')}` : '';
}

/** One line that is written over, and only where somebody looks. */
function showProgress(line: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[2K${line}`);
}
