/** Memory of which single words answer with an error of choice, as beside a hole. */
import type { PhysAddr } from '@iommu-lab/machine';
import type { Rig } from './rig.ts';

/** Makes memory answer `answer` for these words. */
export function replaceWords(rig: Rig, words: ReadonlySet<number>, answer: number): void {
  const { memory } = rig;
  const isIn = (address: number, sizeBytes: number): boolean =>
    [...words].some((word) => word < address + sizeBytes && address < word + 4);
  const read32 = memory.read32.bind(memory);
  const read = memory.read.bind(memory);
  memory.read32 = (address: PhysAddr) => (isIn(address, 4) ? answer : read32(address));
  memory.read = (address: PhysAddr, into: Uint8Array) => !isIn(address, into.length) && read(address, into);
}
