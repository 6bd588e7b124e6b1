/** The TLB from the pins: a V2P that looks into it only, the entry that TLBRSW selects, locking. */
import { extract, insert, type Register } from '@iommu-lab/machine';
import { ACTLR_ATTACHED, ACTLR_NO_STALL, TABLE, regs, type Rig } from './rig.ts';
import type { MakeRig } from './every-reading.ts';

/** ACTLR of the drivers with CFERE: a terminated access is a bus error however CFERE is read. */
export const TERMINATE: number = ACTLR_NO_STALL | 1;
/** The same with faults that stall. */
export const STALL: number = ACTLR_ATTACHED | 1;

/** Sections that everybody may read and write; the second counts for every ASID. */
export const SECTION = 0x30c06;
export const GLOBAL_SECTION = 0x10c06;
/** Small pages likewise; the last may only be read. */
export const PAGE = 0xc36;
export const GLOBAL_PAGE = 0x436;
export const READ_ONLY_PAGE = 0xe36;

/** The four leaf sizes: name, bytes, descriptor bits, bits of a global one. */
export const LEAVES: readonly (readonly [
  name: string,
  sizeBytes: number,
  bits: number,
  globalBits: number,
])[] = [
  ['4 KiB', 0x1000, PAGE, GLOBAL_PAGE],
  ['64 KiB', 0x10000, 0xc35, 0x435],
  ['1 MiB', 0x100000, SECTION, GLOBAL_SECTION],
  ['16 MiB', 0x1000000, 0x70c06, 0x50c06],
];

/** Maps `va` by a leaf of that size at `target`: every replica of it. */
export function mapLeaf(rig: Rig, va: number, target: number, sizeBytes: number, bits: number): void {
  if (sizeBytes < 0x100000) {
    for (let at = va; at < va + sizeBytes; at += 0x1000) rig.second(at, target | bits);
  } else {
    for (let at = va; at < va + sizeBytes; at += 0x100000) rig.first(at, target | bits);
  }
}

/** The index at which `bank` finds an entry for `va`; undefined if there is none. */
export function indexOf(rig: Rig, bank: number, va: number): number | undefined {
  const status = lookUp(rig, bank, va).v2psr;
  const { HIT, INDEX } = regs.V2PSR.fields;
  return extract(status, HIT) === 1 ? extract(status, INDEX) : undefined;
}

/** V2PPR that may not walk: PAR and V2PSR. A fault it may have recorded is cleared. */
export function lookUp(rig: Rig, bank: number, va: number): { par: number; v2psr: number } {
  const actlr = rig.get(bank, regs.ACTLR);
  const hadFault = rig.get(bank, regs.FSR) !== 0;
  rig.set(bank, regs.ACTLR, insert(actlr, regs.ACTLR.fields.V2PCFG, 1));
  const par = rig.probe(bank, va);
  const v2psr = rig.get(bank, regs.V2PSR);
  rig.set(bank, regs.ACTLR, actlr);
  if (!hadFault) rig.set(bank, regs.FSRRESTORE, 0);
  return { par, v2psr };
}

/** A TLB entry as TLBTR0 to TLBTR2 show it. */
export interface ShownEntry {
  readonly isValid: boolean;
  readonly va: number;
  readonly pa: number;
  readonly asid: number;
  readonly vmid: number;
  readonly isGlobal: boolean;
  /** {UW, UR, PW, PR} */
  readonly rights: number;
  /** Position in LEAVES. */
  readonly size: number;
}

/** Selects the entry at `index` and reads it. */
export function entryAt(rig: Rig, index: number): ShownEntry {
  rig.put(regs.TLBRSW.offset, index);
  return selectedEntry(rig);
}

/** Reads the entry selected before. */
export function selectedEntry(rig: Rig): ShownEntry {
  const [attributes, place, tags] = [regs.TLBTR0, regs.TLBTR1, regs.TLBTR2].map((r) => rig.at(r.offset)) as [
    number,
    number,
    number,
  ];
  return {
    isValid: extract(tags, regs.TLBTR2.fields.V) === 1,
    va: (tags & 0xfffff000) >>> 0,
    pa: (place & 0xfffff000) >>> 0,
    asid: extract(tags, regs.TLBTR2.fields.ASID),
    vmid: extract(place, regs.TLBTR1.fields.VMID),
    isGlobal: extract(tags, regs.TLBTR2.fields.NV) === 1,
    rights: attributes & 0xf,
    size: extract(attributes, regs.TLBTR0.fields.DPSIZR),
  };
}

/** The valid ones of the first `count` entries, by index. */
export function entriesOf(rig: Rig, count: number): ReadonlyMap<number, ShownEntry> {
  const valid = new Map<number, ShownEntry>();
  for (let index = 0; index < count; index++) {
    const entry = entryAt(rig, index);
    if (entry.isValid) valid.set(index, entry);
  }
  return valid;
}

/** Opens TLBLCKR and writes it. */
export function setLockControl(rig: Rig, bank: number, value: number): void {
  rig.put(regs.CR.offset, rig.at(regs.CR.offset) | 0x40);
  rig.set(bank, regs.TLBLCKR, value);
}

/** Locks the translation of `va` at `index` with a V2P; TLBLCKR is otherwise left as it was. @returns PAR. */
export function lock(
  rig: Rig,
  bank: number,
  va: number,
  index: number,
  probe: Register = regs.V2PUR,
): number {
  const control = rig.get(bank, regs.TLBLCKR);
  setLockControl(rig, bank, control | 1);
  rig.set(bank, probe, ((va & 0xfffff000) | index) >>> 0);
  setLockControl(rig, bank, control & ~1);
  return rig.get(bank, regs.PAR);
}

/** Where the banks of `banks` map their section. */
export const SHARED_VA = 0x00100000;

/**
 * Bank b has ASID b and a table of its own, which maps SHARED_VA to a section that holds 0xA0 + b; machine id b uses
 * it.
 */
export function banks(make: MakeRig, options: { vmids?: readonly number[]; leaf?: number } = {}): Rig {
  const rig = make();
  for (const bank of [0, 1, 2]) {
    const vmid = options.vmids?.[bank] ?? 0;
    const target = 0x41000000 + bank * 0x100000;
    rig.attach(bank, { ttbr0: tableOf(bank), cbacr: vmid << 16, actlr: TERMINATE });
    rig.first(SHARED_VA, target | (options.leaf ?? SECTION), tableOf(bank));
    rig.word(target, 0xa0 + bank);
    rig.route(bank, bank, vmid);
  }
  return rig;
}

/** The first-level table of a bank of `banks`. */
export function tableOf(bank: number): number {
  return TABLE + bank * 0x4000;
}

/** Loads through each bank: 0xA0 + bank, unless banks share an entry. */
export function loadAll(rig: Rig): (number | undefined)[] {
  return [0, 1, 2].map((mid) => rig.load(mid, SHARED_VA));
}

/** The banks for which the TLB still has SHARED_VA. */
export function survivors(rig: Rig): number[] {
  return [0, 1, 2].filter((bank) => indexOf(rig, bank, SHARED_VA) !== undefined);
}
