/** What a device must not be able to do behind an IOMMU, tried beside and inside one buffer. */
import type { Iova } from '@iommu-lab/machine';
import type { TestSystem } from '../support/system.ts';
import type { Buffer } from './buffer.ts';

const PAGE = 4096;
/** What no driver and no device writes to a buffer. */
const FOREIGN = 0xee;

/** Whether a page of IOVAs is mapped for something that is out. */
export type IsMapped = (page: number) => boolean;

/** Whether one of the segments has a byte in the page. */
export function meets(
  segments: readonly { readonly address: number; readonly length: number }[],
  page: number,
): boolean {
  return segments.some(({ address, length }) => address < page + PAGE && page < address + length);
}

/** @param at offset in the buffer around which it is tried */
export function trespass(
  system: TestSystem,
  buffer: Buffer,
  isMapped: IsMapped,
  at: number,
  isUntrusted: boolean,
): void {
  const { dma } = system;
  const [part] = [...buffer.parts(at, at + 1)];
  if (part === undefined) return;
  const { address } = part;
  if (!buffer.canDevice(false) && system.deviceRead(address, 1) !== undefined) {
    throw new Error('the device reads what it may only write');
  }
  if (!buffer.canDevice(true) && system.deviceWrite(address, Uint8Array.of(FOREIGN)) === 'done') {
    throw new Error('the device writes what it may only read');
  }
  const page = address - (address % PAGE);
  for (const beside of [page - PAGE, page + PAGE]) {
    if (beside < 0 || isMapped(beside)) continue;
    const isReached = system.deviceRead(beside + 8, 8) !== undefined;
    if (isReached && !dma.isStale((beside + 8) as Iova))
      throw new Error('the device reaches beside a buffer');
  }
  if (isUntrusted) lookAround(system, buffer, page);
}

/** The rest of a page of the buffer: zeros, or what the device wrote there itself. */
function lookAround(system: TestSystem, buffer: Buffer, page: number): void {
  const isBuffer = new Uint8Array(PAGE);
  for (const { address, length } of buffer.handle.segments) {
    isBuffer.fill(1, Math.max(0, address - page), Math.max(0, Math.min(PAGE, address + length - page)));
  }
  const seen = system.deviceRead(page, PAGE);
  seen?.forEach((byte, i) => {
    if (isBuffer[i] === 0 && byte !== 0 && byte !== FOREIGN) {
      throw new Error(`the device sees ${byte}, which is not its buffer's`);
    }
  });
  for (const [start, end] of gapsOf(isBuffer)) {
    system.deviceWrite(page + start, new Uint8Array(end - start).fill(FOREIGN));
  }
}

/** Stretches of 0. */
function gapsOf(flags: Uint8Array): readonly (readonly [number, number])[] {
  const gaps: [number, number][] = [];
  flags.forEach((flag, i) => {
    if (flag === 1) return;
    const last = gaps.at(-1);
    if (last?.[1] === i) last[1] = i + 1;
    else gaps.push([i, i + 1]);
  });
  return gaps;
}
