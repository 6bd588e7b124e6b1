/**
 * The clock bracket (R55): registers are reached with the interface clock on, then the core clock, and never without.
 * Who keeps the verbs keeps a bracket open for as long: the attachments of a table stand on the clocks their context holds.
 */
import { assert, type MmioPort } from '@iommu-lab/machine';
import type { ClockGate } from '@iommu-lab/msm-bus';
import { HardwareVerbs } from './hw.ts';
import { RegisterAccess } from './register-access.ts';

/** An open bracket. */
export interface HeldClocks {
  readonly hw: HardwareVerbs;
  /** Closes it; a second time is a defect. */
  release(): void;
}

/** One instance's registers behind its clocks. */
export class MsmHardware {
  readonly #gates: readonly ClockGate[];
  readonly #verbs: HardwareVerbs;
  #holds = 0;
  /** Pieces of work that run inside a bracket now. */
  #running = 0;
  /** Clocks of brackets that were closed meanwhile: they run until the work is done. */
  readonly #closing: (() => void)[] = [];

  /**
   * @param base physical address of the register window
   * @param gates clocks in the order they are switched on
   */
  constructor(mmio: MmioPort, base: number, gates: readonly ClockGate[]) {
    this.#gates = gates;
    this.#verbs = new HardwareVerbs(new RegisterAccess(mmio, base));
  }

  /**
   * Runs `work` inside a bracket: the one that is open, or one of its own. One that `work` closes, as a fault handler that
   * blocks the last context in use does, stays open until it is done.
   * @throws LabError EIO when none is open and a clock does not start; `work` did not run then
   */
  powered<T>(work: (hw: HardwareVerbs) => T): T {
    const own = this.#holds > 0 ? undefined : this.hold();
    this.#running++;
    try {
      return work(this.#verbs);
    } finally {
      this.#running--;
      own?.release();
      this.#switchOff();
    }
  }

  /**
   * Opens a bracket that stays open: what comes later cannot fail for want of a clock.
   * @throws LabError EIO when a clock does not start; those before it are off again then
   */
  hold(): HeldClocks {
    const on: ClockGate[] = [];
    const off = (): void => {
      for (const gate of on.splice(0).reverse()) gate.disable();
    };
    try {
      for (const gate of this.#gates) {
        gate.enable();
        on.push(gate);
      }
    } catch (error) {
      off();
      throw error;
    }
    this.#holds++;
    let isOpen = true;
    return {
      hw: this.#verbs,
      release: () => {
        assert(isOpen, 'a clock bracket is closed once');
        isOpen = false;
        this.#holds--;
        this.#closing.push(off);
        this.#switchOff();
      },
    };
  }

  #switchOff(): void {
    if (this.#running > 0) return;
    for (const off of this.#closing.splice(0)) off();
  }
}
