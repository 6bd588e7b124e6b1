/** Causes as they stand in FSR and PAR, in numbers, so that a test does not lean on the register rows. */

export const TF = 0x2;
export const AFF = 0x4;
export const APF = 0x8;
export const TLBMF = 0x10;
export const HTWDEEF = 0x20;
export const HTWSEEF = 0x40;
/** Beside the cause: the second level was at fault. */
export const SL = 0x10000;
export const MULTI = 0x80000000;
/** Bit 0 of PAR: the V2P failed, and the causes above say why. */
export const FAULT = 0x1;
