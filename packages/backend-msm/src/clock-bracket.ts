/**
 * The clock bracket (R55): registers are reached with the interface clock on, then the core clock, and never without.
 * The verbs are handed out inside a bracket only.
 */
import type { MmioPort } from '@iommu-lab/machine';
import type { ClockGate } from '@iommu-lab/msm-bus';
import { HardwareVerbs } from './hw.ts';
import { RegisterAccess } from './register-access.ts';

/** An open bracket. */
export interface HeldClocks {
  readonly hw: HardwareVerbs;
  /** Closes it. Once. */
  release(): void;
}

/** One instance's registers behind its clocks. */
export class MsmHardware {
  readonly #gates: readonly ClockGate[];
  readonly #verbs: HardwareVerbs;
  #holds = 0;

  /**
   * @param base physical address of the register window
   * @param gates clocks in the order they are switched on
   */
  constructor(mmio: MmioPort, base: number, gates: readonly ClockGate[]) {
    this.#gates = gates;
    this.#verbs = new HardwareVerbs(new RegisterAccess(mmio, base));
  }

  /**
   * Runs `work` inside a bracket: the one that is open, or one of its own.
   * @throws LabError EIO when none is open and a clock does not start; `work` did not run then
   */
  powered<T>(work: (hw: HardwareVerbs) => T): T {
    if (this.#holds > 0) return work(this.#verbs);
    const held = this.hold();
    try {
      return work(held.hw);
    } finally {
      held.release();
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
    return {
      hw: this.#verbs,
      release: () => {
        this.#holds--;
        off();
      },
    };
  }
}
