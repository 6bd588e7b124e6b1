/**
 * DMA between any two steps a driver takes: after each store, clean and register write of an operation, every probe
 * is read and written as a running device would.
 */
import { hex, type Transfer } from '@iommu-lab/machine';
import { type Bench, MARK_BYTES, type Side } from './bench.ts';
import { demand } from './demand.ts';

/** An IOVA that a device keeps using, and what may become of it while the operation runs. */
export interface Probe {
  readonly side: Side;
  readonly iova: number;
  /** Physical addresses it may lead to. */
  readonly mayReach: readonly number[];
  /** Whether it may be refused. */
  readonly mayFault: boolean;
}

interface Read {
  readonly probe: Probe;
  readonly transfer: Transfer;
  readonly data: Uint8Array;
  readonly step: string;
}

interface Write {
  readonly probe: Probe;
  readonly transfer: Transfer;
  readonly slot: number;
  readonly step: string;
}

/** Where in its page a probe writes: far from the marks it reads. Each write has bytes of its own. */
const FIRST_SLOT = 0x100;
const SLOT_BYTES = 4;

/**
 * Runs `act` and holds every probe at every step of it against what it may reach.
 * @returns the number of steps that were seen
 */
export function watchSteps(bench: Bench, probes: readonly Probe[], act: () => void): number {
  const targets = [...new Set(probes.flatMap((probe) => probe.mayReach))];
  const marks = new Map(targets.map((address) => [address, bench.markAt(address)]));
  const reads: Read[] = [];
  const writes: Write[] = [];
  const lastSlot = Math.floor((bench.granule - FIRST_SLOT) / SLOT_BYTES) - 1;
  const issue = (step: string): void => {
    for (const probe of probes) {
      const { master } = probe.side;
      const data = new Uint8Array(MARK_BYTES);
      reads.push({ probe, step, data, transfer: master.read(probe.iova, data) });
      const slot = writes.length;
      if (slot > lastSlot) continue;
      const at = probe.iova + FIRST_SLOT + slot * SLOT_BYTES;
      writes.push({ probe, step, slot, transfer: master.write(at, slotBytes(slot)) });
    }
  };
  let steps = 0;
  const stop = bench.world.interposer.observe((kind, address) => {
    steps++;
    issue(`step ${steps} (${kind} at ${hex(address)})`);
  });
  try {
    issue('before the first step');
    act();
  } finally {
    stop();
  }
  issue('after the last step');
  bench.fixture.settle();
  for (const read of reads) judgeRead(read, marks);
  for (const write of writes) judgeWrite(bench, write);
  return steps;
}

function judgeRead({ probe, transfer, data, step }: Read, marks: ReadonlyMap<number, Uint8Array>): void {
  const what = `${probe.side.master.name}: a read at ${hex(probe.iova)}, ${step},`;
  demand(transfer.state !== 'pending', `${what} hangs`);
  if (transfer.state === 'faulted') return demand(probe.mayFault, `${what} was refused`);
  const isAllowed = probe.mayReach.some((address) =>
    marks.get(address)?.every((byte, i) => byte === data[i]),
  );
  demand(isAllowed, `${what} returned what stands in none of the places it may lead to`);
}

function judgeWrite(bench: Bench, { probe, transfer, slot, step }: Write): void {
  const what = `${probe.side.master.name}: a write at ${hex(probe.iova)}, ${step},`;
  demand(transfer.state !== 'pending', `${what} hangs`);
  if (transfer.state === 'faulted') return demand(probe.mayFault, `${what} was refused`);
  const bytes = slotBytes(slot);
  const hasArrived = probe.mayReach.some((address) => {
    const there = bench.load(address + FIRST_SLOT + slot * SLOT_BYTES, SLOT_BYTES);
    return there.every((byte, i) => byte === bytes[i]);
  });
  demand(hasArrived, `${what} arrived in none of the places it may lead to`);
}

function slotBytes(slot: number): Uint8Array {
  return Uint8Array.of(0x5a, slot & 0xff, (slot >> 8) & 0xff, 0xc3);
}
