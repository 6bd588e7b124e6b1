/** Assertions of the kit's own, so that a check runs with any test runner or none. */
import { type ErrorCode, isLabError } from '@iommu-lab/machine';

/** A backend broke the contract. */
export class ComplianceFailure extends Error {
  override readonly name = 'ComplianceFailure';
}

/** @throws ComplianceFailure unless `condition` */
export function demand(condition: boolean, message: string): asserts condition {
  if (!condition) throw new ComplianceFailure(message);
}

/** Compares plain data. @throws ComplianceFailure when they differ */
export function demandEqual(actual: unknown, expected: unknown, what: string): void {
  if (actual instanceof Uint8Array && expected instanceof Uint8Array && sameBytes(actual, expected)) return;
  const [is, wanted] = [plain(actual), plain(expected)];
  demand(is === wanted, `${what}: expected ${wanted}, got ${is}`);
}

/** @throws ComplianceFailure unless `act` throws a LabError of one of the codes */
export function demandCode(codes: ErrorCode | readonly ErrorCode[], what: string, act: () => void): void {
  const wanted: readonly ErrorCode[] = typeof codes === 'string' ? [codes] : codes;
  const error = caught(act);
  const isRight = isLabError(error) && wanted.includes(error.code);
  demand(isRight, `${what}: expected ${wanted.join(' or ')}, got ${describe(error)}`);
}

/** What `act` throws; undefined when it does not. */
export function caught(act: () => void): unknown {
  try {
    act();
  } catch (error) {
    return error;
  }
  return undefined;
}

/** An error for people. */
export function describe(error: unknown): string {
  if (error === undefined) return 'no error';
  return error instanceof Error ? `${error.name} ${error.message}` : 'something that is no Error';
}

/** Whether both hold the same bytes. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function plain(value: unknown): string {
  return value instanceof Uint8Array ? toHex(value) : (JSON.stringify(value, sorted) ?? 'undefined');
}

function sorted(_key: string, value: unknown): unknown {
  if (value instanceof Uint8Array) return toHex(value);
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
