/** Banks that stall, seen from the pins: who waits, how each transfer ended and in which order. */
import type { Transfer } from '@iommu-lab/machine';
import type { Readings } from '../../src/readings.ts';
import type { MakeRig } from './every-reading.ts';
import { regs, type Rig } from './rig.ts';
import { SECTION, STALL } from './tlb-pins.ts';

/** Mapped sections of the scene, and where they lead; MISSING is not mapped. */
export const MAPPED = 0x00200000;
export const MAPPED_TOO = 0x00300000;
export const TARGET = 0x41000000;
export const TARGET_TOO = 0x41100000;
export const MISSING = 0x00100000;

/** FSR of a first translation fault that stalls. */
export const STALLED_TF = 0x40000002;

/**
 * Machine ids 0 to 3 use bank 0, 4 to 7 bank 1, which both stall and share a table; nothing is in the TLB.
 */
export function stalling(make: MakeRig, actlr: number = STALL): Rig {
  const rig = make();
  for (let mid = 0; mid < 8; mid++) rig.route(mid, mid < 4 ? 0 : 1);
  for (const bank of [0, 1]) rig.attach(bank, { actlr });
  rig.first(MAPPED, TARGET | SECTION);
  rig.first(MAPPED_TOO, TARGET_TOO | SECTION);
  return rig;
}

/** Writes RESUME so that the held access is terminated, or tried again, whichever value says so. */
export function resume(rig: Rig, readings: Readings, outcome: 'terminate' | 'retry', bank = 0): void {
  const terminates = readings.resumeTerminates;
  rig.set(bank, regs.RESUME, outcome === 'terminate' ? terminates : 1 - terminates);
}

/** The same, then clears what FSR has, and lets the clock run. */
export function resumeAndRun(rig: Rig, readings: Readings, outcome: 'terminate' | 'retry', bank = 0): void {
  resume(rig, readings, outcome, bank);
  rig.set(bank, regs.FSR, rig.get(bank, regs.FSR));
  rig.world.clock.run();
}

/** The states of some transfers. */
export function statesOf(transfers: readonly Transfer[]): string[] {
  return transfers.map((transfer) => transfer.state);
}

/** Notes how the transfers end, in order, each by its position. */
export function orderOf(transfers: readonly Transfer[]): string[] {
  const order: string[] = [];
  transfers.forEach((transfer, index) => transfer.onEnd((state) => order.push(`${index} ${state}`)));
  return order;
}
