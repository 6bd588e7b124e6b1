/** How the addresses of a process are divided: the user's part below, the kernel's half above, as ARM Linux has them. */
import {
  isAligned,
  LabError,
  physAddr,
  virtAddr,
  type MemoryPort,
  type PhysAddr,
  type VirtAddr,
  type World,
} from '@iommu-lab/machine';
import { ShortDescriptorTable, type LeafAttributes, type TableMemory } from '@iommu-lab/page-table';

/**
 * Where the kernel's half begins. It is PAGE_OFFSET of VMSPLIT_2G (arch/arm/Kconfig) and not of the commoner 3 GiB /
 * 1 GiB split, because of devices: an IOMMU that walks the process's table keeps its hands off the kernel's half by
 * TTBCR.N and PD1, and TTBCR.N splits at powers of two only: TTBR0 serves [0, 2^(32 - N)) (R34). No N ends at 3 GiB.
 */
export const USER_END: number = 0x8000_0000;

/** First address mmap gives out. */
export const MMAP_START: VirtAddr = virtAddr(0x1000_0000);

/** Memory of the kernel in a process's table: `sizeBytes` from `virtual` on lead to `physical` on. Multiples of 1 MiB. */
export interface KernelMap {
  /** At least 0x80000000. */
  readonly virtual: VirtAddr;
  readonly physical: PhysAddr;
  readonly sizeBytes: number;
}

export interface ProcessOptions {
  /** The kernel's half in the process's table: privileged, read-write, no-execute. Empty unless given. */
  readonly kernelMap?: KernelMap;
  /** The CPU's view of memory past its cache: what frames that are mapped uncached are read and written by. */
  readonly uncached?: MemoryPort;
}

const SECTION_BYTES = 0x10_0000;
const ADDRESS_END = 2 ** 32;

/** As map_lowmem in arch/arm/mm/mmu.c maps data: only the kernel reads and writes it, nobody executes it. */
const KERNEL_MEMORY: LeafAttributes = {
  read: true,
  write: true,
  privileged: true,
  noExec: true,
  memory: 'normal-cacheable',
};

/**
 * The table of a new process, with the kernel's sections in it (pgd_alloc in arch/arm/mm/pgd.c copies them there).
 * @throws LabError ENOMEM; EINVAL unless the map is of whole sections, in the kernel's half and within 32 bits.
 */
export function createTable(world: World, tables: TableMemory, map?: KernelMap): ShortDescriptorTable {
  if (map === undefined) return new ShortDescriptorTable(world, tables);
  const { sizeBytes } = map;
  const starts = [virtAddr(map.virtual), physAddr(map.physical)];
  const isWhole = [...starts, sizeBytes].every((value) => isAligned(value, SECTION_BYTES)) && sizeBytes > 0;
  if (!isWhole || map.virtual < USER_END || starts.some((start) => start + sizeBytes > ADDRESS_END)) {
    throw new LabError('EINVAL', 'the kernel maps whole sections, from 0x80000000 on', { ...map });
  }
  const table = new ShortDescriptorTable(world, tables);
  table.mapPages(map.virtual, map.physical, SECTION_BYTES, sizeBytes / SECTION_BYTES, KERNEL_MEMORY);
  return table;
}
