/** The TLB shown to people and observers. */
import type { Iova, PhysAddr } from '@iommu-lab/machine';
import { LEAF_SIZES } from '@iommu-lab/page-table/layout';
import {
  CACHEABLE,
  EXECUTE_NEVER,
  FAILED_WALK,
  INNER_SHAREABLE,
  MEMORY_TYPE_SHIFT,
  PRIVILEGED_READ,
  PRIVILEGED_WRITE,
  SHAREABLE,
  USER_READ,
  USER_WRITE,
} from './attributes.ts';
import { addressIn } from './leaf.ts';
import { MT_DEVICE, MT_NON_CACHEABLE, MT_STRONGLY_ORDERED } from './memory-type.ts';
import type { Tlb } from './tlb.ts';

/** One valid TLB entry. */
export interface TlbEntryView {
  readonly index: number;
  readonly vmid: number;
  /** undefined for a global entry. */
  readonly asid: number | undefined;
  /** Bank that loaded it. */
  readonly bank: number;
  /** First address of the page. */
  readonly iova: Iova;
  /** Where the page lies. */
  readonly address: PhysAddr;
  readonly sizeBytes: number;
  readonly privilegedRead: boolean;
  readonly privilegedWrite: boolean;
  readonly userRead: boolean;
  readonly userWrite: boolean;
  readonly executeNever: boolean;
  readonly memoryType: MemoryTypeName;
  readonly shareability: ShareabilityName;
  /** Kept there by TLBLCKR.LKE. */
  readonly isLocked: boolean;
  /** It says that a walk found nothing (only with failedWalks: kept). */
  readonly isFailedWalk: boolean;
}

/** Memory type of a mapping, as far as anything follows from it here. */
export type MemoryTypeName = 'strongly-ordered' | 'device' | 'non-cacheable' | 'cacheable';
/** Who shares the memory of a mapping. */
export type ShareabilityName = 'none' | 'inner' | 'outer';

/** The entry at `index`, or undefined if it is free. */
export function viewEntry(tlb: Tlb, index: number): TlbEntryView | undefined {
  if (!tlb.isValid(index)) return undefined;
  const attributes = tlb.attributes(index);
  return {
    index,
    vmid: tlb.vmid(index),
    asid: tlb.isGlobal(index) ? undefined : tlb.asid(index),
    bank: tlb.bank(index),
    iova: tlb.page(index) as Iova,
    address: addressIn(tlb.leaf(index), 0) as PhysAddr,
    sizeBytes: LEAF_SIZES[tlb.sizeCode(index)] as number,
    privilegedRead: (attributes & PRIVILEGED_READ) !== 0,
    privilegedWrite: (attributes & PRIVILEGED_WRITE) !== 0,
    userRead: (attributes & USER_READ) !== 0,
    userWrite: (attributes & USER_WRITE) !== 0,
    executeNever: (attributes & EXECUTE_NEVER) !== 0,
    memoryType: memoryTypeOf(attributes),
    shareability: shareabilityOf(attributes),
    isLocked: tlb.isLocked(index),
    isFailedWalk: (attributes & FAILED_WALK) !== 0,
  };
}

/** The memory type in an attribute word. */
export function memoryTypeOf(attributes: number): MemoryTypeName {
  if ((attributes & CACHEABLE) !== 0) return 'cacheable';
  switch ((attributes >>> MEMORY_TYPE_SHIFT) & 7) {
    case MT_DEVICE:
      return 'device';
    case MT_STRONGLY_ORDERED:
      return 'strongly-ordered';
    case MT_NON_CACHEABLE:
      return 'non-cacheable';
    default:
      return 'cacheable';
  }
}

/** The shareability in an attribute word. */
export function shareabilityOf(attributes: number): ShareabilityName {
  if ((attributes & SHAREABLE) === 0) return 'none';
  return (attributes & INNER_SHAREABLE) === 0 ? 'outer' : 'inner';
}
