/** A mistake of the user: one line with the place and a hint. Anything else is a defect and keeps its stack trace. */
import { isLabError } from '@iommu-lab/machine';

/** Told in one line on standard error, with exit code 2. */
export class UserError extends Error {
  override readonly name = 'UserError';

  /** @param what where and what; @param hint what to do about it */
  constructor(what: string, hint: string) {
    super(`${oneLine(what)} (${hint})`);
  }
}

/** A model's error as the user's, where it is one: a board that is not there. */
export function userErrorFrom(error: unknown): UserError | undefined {
  if (!isLabError(error, 'ENODEV')) return undefined;
  const text = error.message.slice('ENODEV: '.length);
  return new UserError(text, '`iommu-lab boards` lists boards and devices');
}

/** What the system said of a file operation, in words. */
export function fileProblem(error: unknown): string {
  switch (codeOf(error)) {
    case 'ENOENT':
      return 'there is no such file';
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return 'permission denied';
    case 'EISDIR':
      return 'it is a folder';
    case 'ENOTDIR':
    case 'EEXIST':
      return 'a file is in the way';
    case 'ENOSPC':
      return 'no space left';
    default:
      return error instanceof Error ? error.message : String(error);
  }
}

/** The system's code of a failed file operation: `ENOENT`, ... */
export function codeOf(error: unknown): unknown {
  return typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
}

function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, '; ');
}
