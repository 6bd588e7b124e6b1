/** The page tables of the benchmarks: what is mapped where. floor/cases.h makes the same ones in C. */
import { PhysicalMemory, physAddr, type RamBank } from '@iommu-lab/machine';
import {
  FIRST_LEVEL_BYTES,
  REPLICAS,
  SECOND_LEVEL_BYTES,
  encodeLeaf,
  encodeTablePointer,
  firstLevelIndex,
  leafBytes,
  secondLevelIndex,
  type LeafBits,
  type LeafKind,
} from '@iommu-lab/page-table/layout';

/** First-level tables by bank, then second-level tables, 256 KiB a bank. */
const TABLE_BASE = 0x40000000;
const TABLE_BYTES = 0x800000;
const SECOND_LEVEL_BASE = TABLE_BASE + 0x10000;
const SECOND_LEVEL_BYTES_OF_BANK = 0x40000;

/** Full access, write-back, tagged with the ASID. */
const LEAF: LeafBits = { ap: 3, tex: 0, c: 1, b: 1, shareable: 0, notGlobal: 1, executeNever: 0 };

/** Pages of one size, side by side from `va` on. */
export interface Mapping {
  readonly kind: LeafKind;
  /** A power of two. */
  readonly count: number;
  readonly va: number;
  /** Lowest physical address. */
  readonly pa: number;
}

export const SMALL_PAGES: Mapping = { kind: 'small', count: 65536, va: 0x10000000, pa: 0x80000000 };
export const LARGE_PAGES: Mapping = { kind: 'large', count: 4096, va: 0x10000000, pa: 0x80000000 };
export const SECTIONS: Mapping = { kind: 'section', count: 1024, va: 0x10000000, pa: 0x80000000 };
export const SUPERSECTIONS: Mapping = { kind: 'supersection', count: 256, va: 0, pa: 0 };
/** Every address there is, in small pages: 4 MiB of second-level tables. */
export const WHOLE_SPACE: Mapping = { kind: 'small', count: 1 << 20, va: 0, pa: 0 };

/** First address of a page. */
export function vaOf(mapping: Mapping, page: number): number {
  return mapping.va + page * leafBytes(mapping.kind);
}

/** Where `bank` has the page: scattered, for an odd factor permutes the numbers below a power of two. */
export function paOf(mapping: Mapping, bank: number, page: number): number {
  const frame = (Math.imul(page, 40503) & (mapping.count - 1)) >>> 0;
  return mapping.pa + bank * 0x10000000 + frame * leafBytes(mapping.kind);
}

/** What `va` must become in `bank`. */
export function expectedAddress(mapping: Mapping, bank: number, va: number): number {
  const bytes = leafBytes(mapping.kind);
  const offset = va % bytes;
  return paOf(mapping, bank, (va - offset - mapping.va) / bytes) + offset;
}

/** First-level table of a bank. */
export function firstLevelTable(bank: number): number {
  return TABLE_BASE + bank * FIRST_LEVEL_BYTES;
}

/** Memory that holds the tables of the first `banks` banks, each with the whole mapping, and `ram` besides. */
export function memoryWithTables(
  mapping: Mapping,
  banks: number,
  ram: readonly RamBank[] = [],
): PhysicalMemory {
  const memory = new PhysicalMemory([{ base: TABLE_BASE, sizeBytes: TABLE_BYTES }, ...ram]);
  for (let bank = 0; bank < banks; bank++) mapAll(memory, mapping, bank);
  return memory;
}

function mapAll(memory: PhysicalMemory, mapping: Mapping, bank: number): void {
  const isSecond = mapping.kind === 'small' || mapping.kind === 'large';
  const replicas = mapping.kind === 'large' || mapping.kind === 'supersection' ? REPLICAS : 1;
  for (let page = 0; page < mapping.count; page++) {
    const va = vaOf(mapping, page);
    let at = firstLevelTable(bank) + firstLevelIndex(va) * 4;
    if (isSecond) {
      const table =
        SECOND_LEVEL_BASE +
        bank * SECOND_LEVEL_BYTES_OF_BANK +
        firstLevelIndex(va - mapping.va) * SECOND_LEVEL_BYTES;
      memory.write32(physAddr(at), encodeTablePointer(table));
      at = table + secondLevelIndex(va) * 4;
    }
    const leaf = encodeLeaf(mapping.kind, paOf(mapping, bank, page), LEAF);
    for (let i = 0; i < replicas; i++) memory.write32(physAddr(at + i * 4), leaf);
  }
}
