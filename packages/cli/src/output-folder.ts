/** The folder a run writes to. Files are staged and then moved, so that none is ever half-written. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { ReportSchema } from '@iommu-lab/board';
import { codeOf, fileProblem, UserError } from './user-error.ts';

/** A file to write: its name in the folder, and what is in it. */
export interface OutputFile {
  readonly name: string;
  readonly content: string | Uint8Array;
}

/** Its `artifacts` also tell the next run in the same folder what this one left. */
export const REPORT_FILE = 'report.json';

/**
 * Makes the folder if need be.
 * @returns takes back what was made, for a run that leaves nothing
 * @throws UserError when it cannot be written to; nothing has been made then
 */
export function prepareFolder(folder: string): () => void {
  const made: string[] = [];
  const undo = (): void => {
    if (made[0] !== undefined) rmSync(made[0], { recursive: true, force: true });
  };
  try {
    for (const path of missingFolders(folder)) {
      mkdirSync(path);
      made.push(path);
    }
    rmSync(stage(folder), { recursive: true });
    return undo;
  } catch (error) {
    undo();
    throw cannotWrite(folder, error);
  }
}

/**
 * Writes all files, or none, and removes what an earlier run left that this one does not: its pictures would pass for
 * this run's. What that is stands in the report it left; nothing else is touched.
 * @param input a file that must survive: the picture the run was given
 * @throws UserError as `prepareFolder`, or when `input` would be overwritten
 */
export function writeFiles(folder: string, files: readonly OutputFile[], input?: string): void {
  const names = new Set(files.map((file) => file.name));
  const isInput = (name: string): boolean => input !== undefined && resolve(folder, name) === resolve(input);
  const overwritten = files.find((file) => isInput(file.name));
  if (overwritten !== undefined) {
    throw new UserError(`${join(folder, overwritten.name)}: is the picture given`, 'choose another --out');
  }
  const staging = stage(folder);
  try {
    for (const file of files) writeFileSync(join(staging, file.name), file.content);
    for (const name of earlierArtifacts(folder)) {
      if (!names.has(name) && !isInput(name)) rmSync(join(folder, name), { force: true });
    }
    for (const file of files) renameSync(join(staging, file.name), join(folder, file.name));
  } catch (error) {
    throw cannotWrite(folder, error);
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

/** Names of files that the report of an earlier run says it left. */
function earlierArtifacts(folder: string): readonly string[] {
  try {
    const report = ReportSchema.parse(JSON.parse(readFileSync(join(folder, REPORT_FILE), 'utf8')));
    return report.artifacts.filter((name) => /^[a-z0-9-]+\.(png|jpg)$/.test(name));
  } catch {
    return []; // no report, or somebody else's
  }
}

/** The folder and those above it that are not there, from the top. */
function missingFolders(folder: string): readonly string[] {
  const missing: string[] = [];
  for (let path = resolve(folder); !existsSync(path); path = dirname(path)) missing.unshift(path);
  return missing;
}

/** An empty folder on the same file system, where a move is one step. */
function stage(folder: string): string {
  return mkdtempSync(join(folder, '.iommu-lab-'));
}

function cannotWrite(folder: string, error: unknown): UserError {
  const problem = codeOf(error) === 'ENOENT' ? 'no folder can be made there' : fileProblem(error);
  return new UserError(`${folder}: cannot write there: ${problem}`, '--out takes a folder you can write to');
}
