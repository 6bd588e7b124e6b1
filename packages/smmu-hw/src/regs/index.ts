/** The programmer's view of the MSM SMMU: register rows and where they stand. What a driver imports. */
import type { Register } from '@iommu-lab/machine';
import { CBACR, M2VCBR } from './global.ts';

export * from './context.ts';
export * from './global.ts';

/** Bytes of an instance's register window. */
export const WINDOW_BYTES = 0x100000;
/** Bytes of a bank's page inside the window. */
export const BANK_BYTES = 0x1000;
/** Banks that fit below the global page. */
export const MAX_CONTEXT_BANKS = 255;
/** M2VCBR entries that fit below CBACR. */
export const MAX_STREAMS = 512;

/** Offset of a context register inside the window (R1). */
export function contextOffset(bank: number, register: Register): number {
  return bank * BANK_BYTES + register.offset;
}

/** Offset of the routing entry of machine id `mid` (R2). */
export function m2vcbrOffset(mid: number): number {
  return M2VCBR.offset + mid * 4;
}

/** Offset of the attribute register of `bank` (R2). */
export function cbacrOffset(bank: number): number {
  return CBACR.offset + bank * 4;
}
