/**
 * TLB maintenance (R19 to R24). Every operation is over when the register write returns; there is no completion
 * register. Each returns the number of entries it dropped.
 */
import type { ResolvedConfig } from './config.ts';
import type { Tlb } from './tlb.ts';

/** GLOBAL_TLBIALL. */
export function invalidateAll(tlb: Tlb): number {
  return dropWhere(tlb, () => true);
}

/** TLBIVMID: global entries too. */
export function invalidateVmid(tlb: Tlb, vmid: number): number {
  return dropWhere(tlb, (entry) => tlb.vmid(entry) === vmid);
}

/** CTX_TLBIALL, in the configured meaning of "the bank's entries" (R21). */
export function invalidateContext(
  tlb: Tlb,
  scope: ResolvedConfig['contextInvalidateScope'],
  bank: number,
  vmid: number,
  asid: number,
): number {
  switch (scope) {
    case 'vmid':
      return invalidateVmid(tlb, vmid);
    case 'bank':
      return dropWhere(tlb, (entry) => tlb.banks[entry] === bank);
    case 'vmid-and-asid':
      return dropWhere(
        tlb,
        (entry) => tlb.vmid(entry) === vmid && (tlb.isGlobal(entry) || tlb.asid(entry) === asid),
      );
  }
}

/** TLBIASID: global entries survive (R22). */
export function invalidateAsid(tlb: Tlb, vmid: number, asid: number): number {
  return dropWhere(
    tlb,
    (entry) => tlb.vmid(entry) === vmid && !tlb.isGlobal(entry) && tlb.asid(entry) === asid,
  );
}

/** TLBIVA: the entry of any size that covers `va`, of that ASID or global (R23; global as in ARMv7). */
export function invalidateAddress(tlb: Tlb, vmid: number, asid: number, va: number): number {
  return dropWhere(
    tlb,
    (entry) =>
      tlb.vmid(entry) === vmid && (tlb.isGlobal(entry) || tlb.asid(entry) === asid) && tlb.covers(entry, va),
  );
}

/** TLBIVAA: whatever the ASID. */
export function invalidateAddressAllAsids(tlb: Tlb, vmid: number, va: number): number {
  return dropWhere(tlb, (entry) => tlb.vmid(entry) === vmid && tlb.covers(entry, va));
}

function dropWhere(tlb: Tlb, isMeant: (entry: number) => boolean): number {
  let dropped = 0;
  for (let entry = 0; entry < tlb.entries; entry++) {
    if (!tlb.isValid(entry) || !isMeant(entry)) continue;
    tlb.drop(entry);
    dropped++;
  }
  return dropped;
}
