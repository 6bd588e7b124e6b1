/**
 * Faults that are answered later: the access waits in the hardware, the interrupt handler goes on, and a task of the
 * clock decides (the kernel's iopf_queue, drivers/iommu/io-pgfault.c).
 */
import { isLabError, type World } from '@iommu-lab/machine';
import type { FaultVerdict } from '../driver-port.ts';
import type { Fault } from './fault.ts';

export interface FaultQueueOptions {
  /** Decides about one fault; runs as a task of the clock. Must not throw. */
  readonly answer: (fault: Fault) => 'retry' | 'terminate';
  /** `Iommu.respond`. */
  readonly respond: (fault: Fault, outcome: 'retry' | 'terminate') => boolean;
  /** Faults that may wait at once; one more is ended at once. 64 unless given. */
  readonly capacity?: number;
  /** Nanoseconds from a fault to its answer; 1000 unless given. */
  readonly delayNs?: number;
}

export class FaultQueue {
  readonly #world: World;
  readonly #options: FaultQueueOptions;
  /** By fault, what takes its task back. */
  readonly #waiting = new Map<Fault, () => void>();

  constructor(world: World, options: FaultQueueOptions) {
    this.#world = world;
    this.#options = options;
  }

  /** Faults that wait for their answer, oldest first. */
  get waiting(): readonly Fault[] {
    return [...this.#waiting.keys()];
  }

  /** A fault handler (`IommuDomain.setFaultHandler`). What does not wait in the hardware cannot be queued: it ends. */
  add(fault: Fault): FaultVerdict {
    const { capacity = 64, delayNs = 1000, answer } = this.#options;
    if (!fault.isStalled || this.#waiting.size >= capacity) return 'terminate';
    const cancel = this.#world.clock.schedule(delayNs, `answer to fault ${fault.id}`, () => {
      this.#waiting.delete(fault);
      this.#respond(fault, answer(fault));
    });
    this.#waiting.set(fault, cancel);
    return 'hold';
  }

  /** Ends every access that waits (iopf_queue_discard_partial, iopf_queue_remove_device). Never fails. */
  discard(): void {
    for (const [fault, cancel] of this.#waiting) {
      cancel();
      this.#respond(fault, 'terminate');
    }
    this.#waiting.clear();
  }

  /** Hardware that cannot be reached keeps nobody from going on: that is reported. */
  #respond(fault: Fault, outcome: 'retry' | 'terminate'): void {
    try {
      this.#options.respond(fault, outcome);
    } catch (error) {
      if (!isLabError(error)) throw error;
      this.#world.emit('iommu:fault_not_answered', { fault: fault.id, outcome, error: error.message });
    }
  }
}
