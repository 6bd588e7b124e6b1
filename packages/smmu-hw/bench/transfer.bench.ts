/** Reads of a bus master through scattered 4 KiB pages, beside a plain loop that copies the same bytes. */
import { Draws, benchCase, type BenchCase, type Target } from '@iommu-lab/bench';
import { BusMaster, DirectPort, World, physAddr, type BusPort } from '@iommu-lab/machine';
import { attachedSmmu } from './rig.ts';
import { memoryWithTables, paOf, type Mapping } from './tables.ts';

const PAGE_BYTES = 4096;
/** What one run reads, from the first address on. */
const READ_BYTES = 1 << 20;
const RAM: Mapping = { kind: 'small', count: 1024, va: 0x10000000, pa: 0x80000000 };
const RAM_BYTES = RAM.count * PAGE_BYTES;

const SIZES: readonly {
  readonly name: string;
  readonly bytes: number;
  readonly targets?: readonly Target[];
}[] = [
  { name: '64 B', bytes: 64 },
  { name: '4 KiB', bytes: PAGE_BYTES },
  { name: '1 MiB', bytes: READ_BYTES, targets: [{ kind: 'yardstick', most: 2 }] },
];

/** The cases. */
export default [
  ...SIZES.map(({ name, bytes, targets = [] }) =>
    transfers(`read ${name} through the SMMU`, bytes, targets, RAM.va, (page) => paOf(RAM, 0, page) - RAM.pa),
  ),
  ...SIZES.map(({ name, bytes }) =>
    transfers(`read ${name} by DirectPort`, bytes, [], RAM.pa, (page) => page * PAGE_BYTES),
  ),
] as readonly BenchCase[];

/** @param frameOf where in the RAM the pages lie, by number from `firstAddress` on */
function transfers(
  name: string,
  bytes: number,
  targets: readonly Target[],
  firstAddress: number,
  frameOf: (page: number) => number,
): BenchCase {
  return benchCase({
    name,
    operations: READ_BYTES / bytes,
    targets,
    prepare: () => {
      const content = someBytes();
      const master = new BusMaster(new World(), {
        name: 'bench',
        streamId: 0,
        port: firstAddress === RAM.va ? smmuPort(content) : new DirectPort(memoryWith(content)),
      });
      const into = new Uint8Array(bytes);
      const frames = Uint32Array.from({ length: READ_BYTES / PAGE_BYTES }, (_, page) => frameOf(page));
      return {
        run: () => readAll(master, firstAddress, into),
        plain: () => copyAll(content, frames, into),
        verify: () => {
          const expected = new Uint8Array(bytes);
          for (let at = 0; at < READ_BYTES; at += bytes) {
            const { state } = master.read(firstAddress + at, into);
            copy(content, frames, at, expected);
            if (state !== 'done' || into.some((byte, i) => byte !== expected[i])) {
              throw new Error(`${state}: wrong bytes at ${at}`);
            }
          }
        },
      };
    },
  });
}

function readAll(master: BusMaster, firstAddress: number, into: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < READ_BYTES; at += into.length) {
    if (master.read(firstAddress + at, into).state !== 'done') throw new Error('a read failed');
    sum = (sum + (into[0] as number) + (into[into.length - 1] as number)) | 0;
  }
  return sum;
}

function copyAll(content: Uint8Array, frames: Uint32Array, into: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < READ_BYTES; at += into.length) {
    copy(content, frames, at, into);
    sum = (sum + (into[0] as number) + (into[into.length - 1] as number)) | 0;
  }
  return sum;
}

/** Fills `into` with what stands from `at` on, page by page. */
function copy(content: Uint8Array, frames: Uint32Array, at: number, into: Uint8Array): void {
  for (let done = 0; done < into.length;) {
    const inPage = (at + done) % PAGE_BYTES;
    const from = (frames[(at + done) >>> 12] as number) + inPage;
    const count = Math.min(into.length - done, PAGE_BYTES - inPage);
    into.set(content.subarray(from, from + count), done);
    done += count;
  }
}

function smmuPort(content: Uint8Array): BusPort {
  return attachedSmmu(memoryWith(content), 64);
}

function memoryWith(content: Uint8Array): ReturnType<typeof memoryWithTables> {
  const memory = memoryWithTables(RAM, 1, [{ base: RAM.pa, sizeBytes: RAM_BYTES }]);
  memory.write(physAddr(RAM.pa), content);
  return memory;
}

function someBytes(): Uint8Array {
  const draws = new Draws();
  return Uint8Array.from({ length: RAM_BYTES }, () => draws.below(256));
}
