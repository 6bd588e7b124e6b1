/** Registers: plain reads and writes, and the V2P operations that are written and read back. */
import { benchCase, type BenchCase, type FloorCase, type PreparedCase } from '@iommu-lab/bench';
import { maskOf } from '@iommu-lab/machine';
import type { MsmSmmu } from '../src/index.ts';
import { BANK_BYTES, CONTEXTIDR, FAR, PAR, TTBR0, TTBR1, V2PPR, contextOffset } from '../src/regs/index.ts';
import { BANKS, OPERATIONS, atRandom, permuted, registerOffsets, type Pattern } from './patterns.ts';
import { attachedSmmu } from './rig.ts';
import { SMALL_PAGES, expectedAddress, memoryWithTables } from './tables.ts';

const PLAIN = [TTBR0, TTBR1, CONTEXTIDR, FAR];
const V2PPR_OFFSET = contextOffset(0, V2PPR);
const PAR_OFFSET = contextOffset(0, PAR);
const PAR_FAULT = maskOf(PAR.fields.FAULT);

/** The cases. */
export default [
  probes('V2P, hot', 'V2P hot', () => atRandom(SMALL_PAGES, 64 / 2), 0),
  probes('V2P, cold', 'V2P cold', () => permuted(SMALL_PAGES), OPERATIONS),
  benchCase({
    name: 'register read',
    operations: OPERATIONS,
    floor: floorOf('register read'),
    targets: [{ kind: 'bytes', most: 0 }],
    prepare: () => {
      const smmu = attachedSmmu(memoryWithTables(SMALL_PAGES, 1), 64);
      const offsets = plainOffsets();
      writeAll(smmu, offsets);
      return { run: () => readAll(smmu, offsets), verify: () => verifyWrites(smmu, offsets) };
    },
  }),
  benchCase({
    name: 'register write',
    operations: OPERATIONS,
    floor: floorOf('register write'),
    targets: [{ kind: 'bytes', most: 0 }],
    prepare: () => {
      const smmu = attachedSmmu(memoryWithTables(SMALL_PAGES, 1), 64);
      const offsets = plainOffsets();
      return { run: () => writeAll(smmu, offsets), verify: () => verifyWrites(smmu, offsets) };
    },
  }),
] as readonly BenchCase[];

function probes(name: string, floor: string, makePattern: () => Pattern, walks: number): BenchCase {
  return benchCase({
    name,
    operations: OPERATIONS,
    floor: floorOf(floor),
    prepare: (): PreparedCase => {
      const pattern = makePattern();
      const smmu = attachedSmmu(memoryWithTables(SMALL_PAGES, 1), 64);
      return {
        run: () => probeAll(smmu, pattern),
        verify: () => {
          for (const va of pattern) {
            smmu.write32(V2PPR_OFFSET, (va & 0xfffff000) >>> 0);
            const par = smmu.read32(PAR_OFFSET);
            const page = (expectedAddress(SMALL_PAGES, 0, va) & 0xfffff000) >>> 0;
            if ((par & PAR_FAULT) !== 0 || (par & 0xfffff000) >>> 0 !== page) {
              throw new Error(`V2P of ${va.toString(16)}: PAR ${par.toString(16)}`);
            }
          }
        },
        counters: () => ({ walks: smmu.statistics.walks }),
        expected: { walks },
      };
    },
  });
}

function probeAll(smmu: MsmSmmu, pattern: Pattern): number {
  let sum = 0;
  for (let i = 0; i < OPERATIONS; i++) {
    smmu.write32(V2PPR_OFFSET, ((pattern[i] as number) & 0xfffff000) >>> 0);
    const par = smmu.read32(PAR_OFFSET);
    if ((par & PAR_FAULT) !== 0) throw new Error('a V2P failed');
    sum = (sum + (par & 0xfffff000)) | 0;
  }
  return sum;
}

function plainOffsets(): Pattern {
  return registerOffsets(
    PLAIN.map(({ offset }) => offset),
    BANK_BYTES,
  );
}

function readAll(smmu: MsmSmmu, offsets: Pattern): number {
  let sum = 0;
  for (let i = 0; i < OPERATIONS; i++) sum = (sum + smmu.read32(offsets[i] as number)) | 0;
  return sum;
}

function writeAll(smmu: MsmSmmu, offsets: Pattern): number {
  for (let i = 0; i < OPERATIONS; i++) smmu.write32(offsets[i] as number, (i << 14) >>> 0);
  let sum = 0;
  for (let bank = 0; bank < BANKS; bank++) {
    for (const register of PLAIN) sum = (sum + smmu.read32(contextOffset(bank, register))) | 0;
  }
  return sum;
}

/** Writes once more, and looks at each register: the last word written to it. */
function verifyWrites(smmu: MsmSmmu, offsets: Pattern): void {
  writeAll(smmu, offsets);
  const last = new Map(Array.from(offsets, (offset, i) => [offset, (i << 14) >>> 0]));
  for (const [offset, word] of last) {
    if (smmu.read32(offset) !== word) throw new Error(`register at ${offset.toString(16)}`);
  }
}

function floorOf(name: string): FloorCase {
  return { program: 'smmu', args: [name, '64'] };
}
