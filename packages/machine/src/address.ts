/**
 * Address kinds. An IOVA is not a physical address, and a guest's "physical" address is neither:
 * each kind is a number of its own type, so that the compiler refuses to take one for another.
 * All supported widths lie below 2^53, so plain numbers hold every address exactly.
 */
import { LabError } from './errors.ts';

declare const kind: unique symbol;
type AddressOf<Kind extends string> = number & { readonly [kind]: Kind };

/** An address in memory, as the memory controller sees it. In a guest: the guest's own "physical" view. */
export type PhysAddr = AddressOf<'pa'>;
/** An address as a device issues it, before any IOMMU. */
export type Iova = AddressOf<'iova'>;
/** A guest's "physical" address, seen from the host. */
export type GuestPhysAddr = AddressOf<'gpa'>;
/** An address of a CPU program. */
export type VirtAddr = AddressOf<'va'>;

/** Takes a number as a physical address. @throws LabError EINVAL unless a non-negative safe integer. */
export function physAddr(value: number): PhysAddr {
  return checked(value, 'physical address') as PhysAddr;
}

/** Takes a number as an IOVA. @throws LabError EINVAL unless a non-negative safe integer. */
export function iova(value: number): Iova {
  return checked(value, 'IOVA') as Iova;
}

/** Takes a number as a guest-physical address. @throws LabError EINVAL unless a non-negative safe integer. */
export function guestPhysAddr(value: number): GuestPhysAddr {
  return checked(value, 'guest-physical address') as GuestPhysAddr;
}

/** Takes a number as a virtual address. @throws LabError EINVAL unless a non-negative safe integer. */
export function virtAddr(value: number): VirtAddr {
  return checked(value, 'virtual address') as VirtAddr;
}

/** The address `bytes` further on, of the same kind. */
export function offsetBy<A extends number>(address: A, bytes: number): A {
  return (address + bytes) as A;
}

/** The largest multiple of `granule` (a power of two, in bytes) that is not above `value`. */
export function alignDown<A extends number>(value: A, granule: number): A {
  return (value - (value % granule)) as A;
}

/** The smallest multiple of `granule` (a power of two, in bytes) that is not below `value`. */
export function alignUp<A extends number>(value: A, granule: number): A {
  return alignDown((value + granule - 1) as A, granule);
}

/** Whether `value` is a multiple of `granule` bytes. */
export function isAligned(value: number, granule: number): boolean {
  return value % granule === 0;
}

/** Whether `value` is a power of two (1 counts). */
export function isPowerOfTwo(value: number): boolean {
  // Not by Number.isInteger(Math.log2(value)): that rounds, and takes 2^49 + 1 for one.
  return Number.isSafeInteger(value) && value > 0 && 2 ** Math.round(Math.log2(value)) === value;
}

/** `0x`-prefixed lower-case hexadecimal, padded to `digits`. */
export function hex(value: number, digits = 8): string {
  return `0x${value.toString(16).padStart(digits, '0')}`;
}

function checked(value: number, what: string): number {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new LabError('EINVAL', `${what} must be a non-negative integer below 2^53`, { value });
  }
  return value;
}
