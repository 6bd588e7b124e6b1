/**
 * The two channels of things that should not happen. (The third, a fault, is the hardware's answer and
 * therefore a value, never an exception.)
 */

/** Codes of misuse, with the kernel's names and its meaning of them. */
export type ErrorCode =
  | 'EACCES'
  | 'EADDRINUSE'
  | 'EBUSY'
  | 'EEXIST'
  | 'EFAULT'
  | 'EINVAL'
  | 'EIO'
  | 'ENODEV'
  | 'ENOENT'
  | 'ENOMEM'
  | 'ENOSPC'
  | 'ENXIO'
  | 'EOPNOTSUPP'
  | 'EOVERFLOW'
  | 'EPERM'
  | 'EPROBE_DEFER'
  | 'ERANGE'
  | 'ETIMEDOUT';

/**
 * Misuse of an API, or a resource that ran out. Thrown before anything changed, or with everything rolled back.
 * `code` is stable and what tests and callers look at; the message is for people.
 */
export class LabError extends Error {
  override readonly name = 'LabError';
  readonly code: ErrorCode;
  /** The values the message speaks of, as plain data. */
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, details: Readonly<Record<string, unknown>> = {}) {
    super(`${code}: ${message}`);
    this.code = code;
    this.details = details;
  }
}

/** Whether `error` is a LabError (with that code, if one is given). */
export function isLabError(error: unknown, code?: ErrorCode): error is LabError {
  return error instanceof LabError && (code === undefined || error.code === code);
}

/** The impossible happened: a defect of this project, not of its user. */
export class ImpossibleError extends Error {
  override readonly name = 'ImpossibleError';
}

/** Asserts what must hold whatever a caller does. @throws ImpossibleError */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new ImpossibleError(message);
}
