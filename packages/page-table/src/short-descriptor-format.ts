/**
 * Variants of the ARMv7 short-descriptor format, as data: which access-permission codes and memory classes a writer
 * uses, and the register values under which hardware gives those codes their meaning. A table and the registers that
 * explain it belong together, so both stand in one row.
 */
import { decodeLeaf, encodeLeaf, encodeTablePointer, type LeafKind } from './layout/short-descriptor.ts';

/** What kind of memory accesses through a leaf are made to. */
export type MemoryKind = 'normal-cacheable' | 'normal-uncached' | 'device';

/** What a leaf allows and how its target behaves. */
export interface LeafAttributes {
  readonly read: boolean;
  readonly write: boolean;
  /** Only privileged accesses are allowed. */
  readonly privileged: boolean;
  /** Instruction fetches are refused. */
  readonly noExec: boolean;
  readonly memory: MemoryKind;
}

/** The codes a writer puts into AP[2:0] for each of the four rights it tells apart. */
export interface AccessPermissionCodes {
  readonly readWrite: number;
  readonly readOnly: number;
  readonly privilegedReadWrite: number;
  readonly privilegedReadOnly: number;
}

/** One variant of the format. */
export interface ShortDescriptorFormat {
  readonly name: string;
  /** SCTLR.AFE the table is written for: 1 = AP[0] is the access flag (R41). */
  readonly afe: 0 | 1;
  /** PRRR the table is written for: memory type of each class (R42). */
  readonly prrr: number;
  /** NMRR the table is written for: cache policies of each class. */
  readonly nmrr: number;
  readonly accessPermissions: AccessPermissionCodes;
  /** Class number {TEX[0], C, B}, 0..7, used for each kind of memory. */
  readonly classes: Readonly<Record<MemoryKind, number>>;
  readonly shareable: 0 | 1;
  /** nG in every leaf: TLB entries are tagged with the ASID. */
  readonly notGlobal: 0 | 1;
  /** Whether `noExec` is written into XN; a format without it lets instruction fetches through. */
  readonly writesExecuteNever: boolean;
  /** NS in sections and table pointers, for hardware that looks at it (io-pgtable-arm-v7s quirk ARM_NS). */
  readonly nonSecure: 0 | 1;
  /**
   * A historical defect: TEX of a large page is written at bit 6, where a small page has it. Hardware then reads
   * TEX[0] = 0 (R43).
   */
  readonly misplacesLargePageTex: boolean;
}

/**
 * The default, and correct: read-only, read-write, privileged and no-execute are all told apart. Bits, PRRR and NMRR
 * are those of drivers/iommu/io-pgtable-arm-v7s.c; it has no write-only code, so write-only also reads.
 */
export const LINUX_V7S: ShortDescriptorFormat = {
  name: 'linux-v7s',
  afe: 1,
  prrr: 0x800b8204,
  nmrr: 0x40004000,
  accessPermissions: {
    readWrite: 0b011,
    readOnly: 0b111,
    privilegedReadWrite: 0b001,
    privilegedReadOnly: 0b101,
  },
  classes: { 'normal-cacheable': 7, 'normal-uncached': 4, device: 1 },
  shareable: 1,
  notGlobal: 1,
  writesExecuteNever: true,
  nonSecure: 0,
  misplacesLargePageTex: false,
};

/** As the vendor's kernel for the MSM wrote it later on: read-only is told from read-write, nothing else is. */
export const MSM_VENDOR: ShortDescriptorFormat = {
  name: 'msm-vendor',
  afe: 0,
  prrr: 0xff0a81a8,
  nmrr: 0x40e040e0,
  accessPermissions: {
    readWrite: 0b011,
    readOnly: 0b111,
    privilegedReadWrite: 0b011,
    privilegedReadOnly: 0b111,
  },
  classes: { 'normal-cacheable': 7, 'normal-uncached': 1, device: 4 },
  shareable: 1,
  notGlobal: 1,
  writesExecuteNever: false,
  nonSecure: 0,
  misplacesLargePageTex: false,
};

const FULL_ACCESS: AccessPermissionCodes = {
  readWrite: 0b011,
  readOnly: 0b011,
  privilegedReadWrite: 0b011,
  privilegedReadOnly: 0b011,
};

/**
 * The first driver of 2010 (arch/arm/mach-msm/iommu.c): every mapping may be written whatever was asked for, and
 * PRRR = NMRR = 0 makes all memory strongly ordered.
 */
export const MSM_2010: ShortDescriptorFormat = {
  name: 'msm-2010',
  afe: 0,
  prrr: 0,
  nmrr: 0,
  accessPermissions: FULL_ACCESS,
  classes: { 'normal-cacheable': 0, 'normal-uncached': 0, device: 0 },
  shareable: 1,
  notGlobal: 0,
  writesExecuteNever: false,
  nonSecure: 0,
  misplacesLargePageTex: false,
};

/** The same driver a release later (2.6.38 to 4.10): memory classes of the CPU, still full access, TEX misplaced. */
export const MSM_2011: ShortDescriptorFormat = {
  ...MSM_VENDOR,
  name: 'msm-2011',
  accessPermissions: FULL_ACCESS,
  misplacesLargePageTex: true,
};

const NS_TABLE = 0x8;
const NS_SECTION = 0x80000;
const LARGE_PAGE_TEX_SHIFT = 12;
const SMALL_PAGE_TEX_SHIFT = 6;

/** The leaf descriptor for `address` (a multiple of the leaf's size) with `attributes`. */
export function encodeDescriptor(
  format: ShortDescriptorFormat,
  kind: LeafKind,
  address: number,
  attributes: LeafAttributes,
): number {
  const memoryClass = format.classes[attributes.memory];
  const tex = memoryClass >> 2;
  let word = encodeLeaf(kind, address, {
    ap: accessPermission(format.accessPermissions, attributes),
    tex,
    c: ((memoryClass >> 1) & 1) as 0 | 1,
    b: (memoryClass & 1) as 0 | 1,
    shareable: format.shareable,
    notGlobal: format.notGlobal,
    executeNever: format.writesExecuteNever && attributes.noExec ? 1 : 0,
  });
  if (format.misplacesLargePageTex && kind === 'large') {
    word = (word & ~(tex << LARGE_PAGE_TEX_SHIFT)) | (tex << SMALL_PAGE_TEX_SHIFT);
  }
  if (format.nonSecure === 1 && (kind === 'section' || kind === 'supersection')) word |= NS_SECTION;
  return word >>> 0;
}

/** The first-level entry that points to the second-level table at `base`. */
export function encodePointer(format: ShortDescriptorFormat, base: number): number {
  return (encodeTablePointer(base) | (format.nonSecure === 1 ? NS_TABLE : 0)) >>> 0;
}

/** What hardware programmed for `format` makes of a leaf; not what the writer meant, where the two differ. */
export function decodeDescriptor(
  format: ShortDescriptorFormat,
  kind: LeafKind,
  word: number,
): LeafAttributes {
  const leaf = decodeLeaf(kind, word);
  const rights = rightsOf(format.afe, leaf.ap);
  return {
    ...rights,
    noExec: leaf.executeNever === 1,
    memory: memoryKindOf(format, ((leaf.tex & 1) << 2) | (leaf.c << 1) | leaf.b),
  };
}

function accessPermission(codes: AccessPermissionCodes, attributes: LeafAttributes): number {
  if (attributes.privileged) {
    return attributes.write ? codes.privilegedReadWrite : codes.privilegedReadOnly;
  }
  return attributes.write ? codes.readWrite : codes.readOnly;
}

type Rights = Pick<LeafAttributes, 'read' | 'write' | 'privileged'>;
const NO_ACCESS: Rights = { read: false, write: false, privileged: false };
const READ_WRITE: Rights = { read: true, write: true, privileged: false };
const READ_ONLY: Rights = { read: true, write: false, privileged: false };
const PRIVILEGED_READ_WRITE: Rights = { read: true, write: true, privileged: true };
const PRIVILEGED_READ_ONLY: Rights = { read: true, write: false, privileged: true };

/** Rights by AP[2:1], once AP[0] is the access flag. */
const WITH_ACCESS_FLAG: readonly Rights[] = [
  PRIVILEGED_READ_WRITE,
  READ_WRITE,
  PRIVILEGED_READ_ONLY,
  READ_ONLY,
];

/** Rights by AP[2:0]; 010 is what an unprivileged access has: the privileged one may also write. */
const WITHOUT_ACCESS_FLAG: readonly Rights[] = [
  NO_ACCESS,
  PRIVILEGED_READ_WRITE,
  READ_ONLY,
  READ_WRITE,
  NO_ACCESS,
  PRIVILEGED_READ_ONLY,
  READ_ONLY,
  READ_ONLY,
];

function rightsOf(afe: 0 | 1, ap: number): Rights {
  if (afe === 0) return WITHOUT_ACCESS_FLAG[ap] as Rights;
  return (ap & 1) === 0 ? NO_ACCESS : (WITH_ACCESS_FLAG[ap >> 1] as Rights);
}

const NORMAL_MEMORY = 2;

function memoryKindOf(format: ShortDescriptorFormat, memoryClass: number): MemoryKind {
  const shift = 2 * memoryClass;
  if (((format.prrr >>> shift) & 3) !== NORMAL_MEMORY) return 'device';
  const inner = (format.nmrr >>> shift) & 3;
  const outer = (format.nmrr >>> (16 + shift)) & 3;
  return inner === 0 && outer === 0 ? 'normal-uncached' : 'normal-cacheable';
}
