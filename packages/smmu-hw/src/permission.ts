/** Access permission bits to the four rights of a TLB entry (R41). */
import { EXECUTE_NEVER, PRIVILEGED_READ, PRIVILEGED_WRITE, USER_READ, USER_WRITE } from './attributes.ts';

const PRIVILEGED = PRIVILEGED_READ | PRIVILEGED_WRITE;

/** Rights by AP[2:0] with the access flag off; 100 is reserved and grants nothing (fixed choice). */
const RIGHTS_BY_AP: readonly number[] = [
  0,
  PRIVILEGED,
  PRIVILEGED | USER_READ,
  PRIVILEGED | USER_READ | USER_WRITE,
  0,
  PRIVILEGED_READ,
  PRIVILEGED_READ | USER_READ,
  PRIVILEGED_READ | USER_READ,
];

/**
 * Rights that AP[2:0] grants. With the access flag (SCTLR.AFE), AP[0] is that flag and AP[2:1] alone decide; their
 * meaning is the one AP[0]=1 has without it.
 */
export function rightsOf(ap: number, hasAccessFlag: boolean): number {
  return RIGHTS_BY_AP[hasAccessFlag ? ap | 1 : ap] as number;
}

/** The one right an access needs. */
export function rightNeeded(isPrivileged: boolean, isWrite: boolean): number {
  if (isPrivileged) return isWrite ? PRIVILEGED_WRITE : PRIVILEGED_READ;
  return isWrite ? USER_WRITE : USER_READ;
}

const EVERY_RIGHT = PRIVILEGED | USER_READ | USER_WRITE;
const EVERY_RIGHT_OR_NEVER = EVERY_RIGHT | EXECUTE_NEVER;

/** Whether an entry with these attributes lets every access through: then nobody needs to look at the access. */
export function allowsAll(attributes: number): boolean {
  return (attributes & EVERY_RIGHT_OR_NEVER) === EVERY_RIGHT;
}

/** Whether an entry with these attributes lets an access through that needs `right`. */
export function isAllowed(attributes: number, right: number, isInstruction: boolean): boolean {
  return (attributes & right) !== 0 && !(isInstruction && (attributes & EXECUTE_NEVER) !== 0);
}
