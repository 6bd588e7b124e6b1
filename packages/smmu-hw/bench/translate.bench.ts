/** The address phase of an access, hot and cold, and with invalidations in between. */
import { benchCase, type BenchCase, type PreparedCase, type Target } from '@iommu-lab/bench';
import type { BusAccess } from '@iommu-lab/machine';
import type { MsmSmmu } from '../src/index.ts';
import { CTX_TLBIALL, TLBIVA, contextOffset } from '../src/regs/index.ts';
import {
  BANKS,
  OPERATIONS,
  atRandom,
  atRandomOfBanks,
  inSequence,
  onePage,
  permuted,
  sparse,
  stream,
  type Pattern,
} from './patterns.ts';
import { asidOf, attachedSmmu, wordRead } from './rig.ts';
import {
  LARGE_PAGES,
  SECTIONS,
  SMALL_PAGES,
  SUPERSECTIONS,
  WHOLE_SPACE,
  expectedAddress,
  memoryWithTables,
  type Mapping,
} from './tables.ts';

const NOTHING_ALLOCATED: Target = { kind: 'bytes', most: 0 };

interface Translations {
  readonly name: string;
  /** Name of the case in floor/smmu.c. */
  readonly floor: string;
  readonly tlbEntries?: number;
  readonly mapping?: Mapping;
  readonly pattern: (mapping: Mapping, tlbEntries: number) => Pattern;
  /** Walks of one run, once the TLB is as the case leaves it. */
  readonly walks: number;
  readonly targets?: readonly Target[];
}

const TRANSLATIONS: readonly Translations[] = [
  { name: 'hot one page', floor: 'hot one page', pattern: onePage, walks: 0 },
  {
    name: 'hot sequential pages',
    floor: 'hot sequential',
    pattern: (mapping, entries) => inSequence(mapping, entries / 2),
    walks: 0,
  },
  {
    name: 'hot random pages',
    floor: 'hot random',
    pattern: (mapping, entries) => atRandom(mapping, entries / 2),
    walks: 0,
    targets: [{ kind: 'yardstick', most: 3 }],
  },
  {
    name: 'hot random pages, 256 entries',
    floor: 'hot random',
    tlbEntries: 256,
    pattern: (mapping, entries) => atRandom(mapping, entries / 2),
    walks: 0,
    targets: [{ kind: 'yardstick', most: 3 }],
  },
  {
    name: 'full TLB',
    floor: 'full TLB',
    pattern: atRandom,
    walks: 0,
    targets: [{ kind: 'case', name: 'hot one page', most: 2 }],
  },
  {
    name: 'full TLB, 256 entries',
    floor: 'full TLB',
    tlbEntries: 256,
    pattern: atRandom,
    walks: 0,
    targets: [{ kind: 'case', name: 'hot one page', most: 2 }],
  },
  {
    name: 'hot stream of 64 bytes',
    floor: 'hot stream',
    pattern: (mapping, entries) => stream(mapping, entries / 2),
    walks: 0,
    targets: [{ kind: 'yardstick', most: 4 }],
  },
  {
    name: 'cold sequential, 64 K small pages',
    floor: 'cold sequential',
    pattern: (mapping) => inSequence(mapping, mapping.count),
    walks: OPERATIONS,
    targets: [{ kind: 'yardstick', most: 4 }],
  },
  {
    name: 'cold random, 64 K small pages',
    floor: 'cold random',
    pattern: permuted,
    walks: OPERATIONS,
    targets: [{ kind: 'yardstick', most: 4 }],
  },
  {
    name: 'cold random, 64 K small pages, 256 entries',
    floor: 'cold random',
    tlbEntries: 256,
    pattern: permuted,
    walks: OPERATIONS,
    targets: [{ kind: 'yardstick', most: 4 }],
  },
  {
    name: 'cold random, 1 M small pages',
    floor: 'cold sparse',
    mapping: WHOLE_SPACE,
    pattern: sparse,
    walks: 65533, // three of the draws happen to be in the TLB
    targets: [{ kind: 'yardstick', most: 4 }],
  },
  {
    name: 'cold random, large pages',
    floor: 'cold large pages',
    mapping: LARGE_PAGES,
    pattern: permuted,
    walks: OPERATIONS,
  },
  {
    name: 'cold random, sections',
    floor: 'cold sections',
    mapping: SECTIONS,
    pattern: permuted,
    walks: OPERATIONS,
  },
  {
    name: 'cold random, supersections',
    floor: 'cold supersections',
    mapping: SUPERSECTIONS,
    pattern: permuted,
    walks: OPERATIONS,
  },
];

/** The cases. */
export default [
  ...TRANSLATIONS.map((row) => {
    const { mapping = SMALL_PAGES, tlbEntries = 64 } = row;
    return benchCase({
      name: row.name,
      operations: OPERATIONS,
      floor: floorOf(row.floor, tlbEntries),
      targets: [...(row.targets ?? []), NOTHING_ALLOCATED],
      prepare: () => {
        const pattern = row.pattern(mapping, tlbEntries);
        const smmu = attachedSmmu(memoryWithTables(mapping, 1), tlbEntries);
        const access = wordRead(0);
        return prepared(smmu, mapping, [access], pattern, row.walks, () =>
          translateAll(smmu, access, pattern),
        );
      },
    });
  }),
  benchCase({
    name: 'four banks with an ASID each',
    operations: OPERATIONS,
    floor: floorOf('four banks', 64),
    targets: [NOTHING_ALLOCATED],
    prepare: () => {
      const pattern = atRandomOfBanks(SMALL_PAGES, 64 / 8);
      const smmu = attachedSmmu(memoryWithTables(SMALL_PAGES, BANKS), 64);
      const accesses = Array.from({ length: BANKS }, (_, mid) => wordRead(mid));
      return prepared(smmu, SMALL_PAGES, accesses, pattern, 0, () => translateMix(smmu, accesses, pattern));
    },
  }),
  benchCase({
    name: 'a TLBIVA every 16 translations',
    operations: OPERATIONS,
    floor: floorOf('TLBIVA', 64),
    targets: [NOTHING_ALLOCATED],
    prepare: () => {
      const pattern = atRandom(SMALL_PAGES, 64 / 2);
      const smmu = attachedSmmu(memoryWithTables(SMALL_PAGES, 1), 64);
      const access = wordRead(0);
      return prepared(smmu, SMALL_PAGES, [access], pattern, OPERATIONS / 16, () =>
        translateWithTlbiva(smmu, access, pattern),
      );
    },
  }),
  benchCase({
    name: 'a CTX_TLBIALL every 64 translations',
    operations: OPERATIONS,
    floor: floorOf('CTX_TLBIALL', 64),
    targets: [NOTHING_ALLOCATED],
    prepare: () => {
      const pattern = atRandom(SMALL_PAGES, 64 / 2);
      const smmu = attachedSmmu(memoryWithTables(SMALL_PAGES, 1), 64);
      const access = wordRead(0);
      return prepared(smmu, SMALL_PAGES, [access], pattern, distinctPages(pattern, 64), () =>
        translateWithTlbiall(smmu, access, pattern),
      );
    },
  }),
] as readonly BenchCase[];

function translateAll(smmu: MsmSmmu, access: BusAccess, pattern: Pattern): number {
  const { translated } = smmu;
  let sum = 0;
  for (let i = 0; i < OPERATIONS; i++) {
    access.address = pattern[i] as number;
    if (smmu.translate(access) !== 'done') throw new Error('a translation failed');
    sum = (sum + translated.address) | 0;
  }
  return sum;
}

function translateMix(smmu: MsmSmmu, accesses: readonly BusAccess[], pattern: Pattern): number {
  const { translated } = smmu;
  let sum = 0;
  for (let i = 0; i < OPERATIONS; i++) {
    const word = pattern[i] as number;
    const access = accesses[word & 3] as BusAccess;
    access.address = (word & ~3) >>> 0;
    if (smmu.translate(access) !== 'done') throw new Error('a translation failed');
    sum = (sum + translated.address) | 0;
  }
  return sum;
}

const TLBIVA_OFFSET = contextOffset(0, TLBIVA);
const TLBIALL_OFFSET = contextOffset(0, CTX_TLBIALL);

function translateWithTlbiva(smmu: MsmSmmu, access: BusAccess, pattern: Pattern): number {
  const { translated } = smmu;
  const asid = asidOf(0);
  let sum = 0;
  for (let i = 0; i < OPERATIONS; i++) {
    const address = pattern[i] as number;
    if (i % 16 === 0) smmu.write32(TLBIVA_OFFSET, ((address & 0xfffff000) | asid) >>> 0);
    access.address = address;
    if (smmu.translate(access) !== 'done') throw new Error('a translation failed');
    sum = (sum + translated.address) | 0;
  }
  return sum;
}

function translateWithTlbiall(smmu: MsmSmmu, access: BusAccess, pattern: Pattern): number {
  const { translated } = smmu;
  let sum = 0;
  for (let i = 0; i < OPERATIONS; i++) {
    if (i % 64 === 0) smmu.write32(TLBIALL_OFFSET, 0);
    access.address = pattern[i] as number;
    if (smmu.translate(access) !== 'done') throw new Error('a translation failed');
    sum = (sum + translated.address) | 0;
  }
  return sum;
}

/** `accesses` by machine id; with more than one, the pattern's two lowest bits choose. */
function prepared(
  smmu: MsmSmmu,
  mapping: Mapping,
  accesses: readonly BusAccess[],
  pattern: Pattern,
  walks: number,
  run: () => number,
): PreparedCase {
  const { statistics } = smmu;
  return {
    run,
    verify: () => {
      for (const word of pattern) {
        const mid = accesses.length === 1 ? 0 : word & 3;
        const va = word - mid;
        const access = accesses[mid] as BusAccess;
        access.address = va;
        const status = smmu.translate(access);
        const { address } = smmu.translated;
        if (status !== 'done' || address !== expectedAddress(mapping, mid, va)) {
          throw new Error(`machine id ${mid}, IOVA ${va.toString(16)}: ${status}, ${address.toString(16)}`);
        }
      }
    },
    counters: () => ({ walks: statistics.walks, translations: statistics.translations }),
    expected: { walks, translations: OPERATIONS },
  };
}

/** Pages that each stretch of `length` operations uses, summed up: the walks, if the TLB is emptied before each. */
function distinctPages(pattern: Pattern, length: number): number {
  let count = 0;
  for (let i = 0; i < pattern.length; i += length) {
    count += new Set(pattern.subarray(i, i + length).map((address) => address >>> 12)).size;
  }
  return count;
}

function floorOf(name: string, tlbEntries: number): { program: string; args: string[] } {
  return { program: 'smmu', args: [name, String(tlbEntries)] };
}
