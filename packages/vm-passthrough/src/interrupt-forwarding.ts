/**
 * Wired interrupts of assigned devices. The host cannot lower a line that only the guest's driver can make the device
 * lower, so it masks the interrupt, raises a line in the guest, and waits for the guest's end of interrupt; a level
 * that is still high is then delivered again (virt/kvm/assigned-dev.c of 2010, and VFIO's INTx).
 */
import type { InterruptController } from '@iommu-lab/driver-core';
import { InterruptLine } from '@iommu-lab/machine';

interface Forward {
  /** Devices that need it: two devices of one guest may share a wire. */
  users: number;
  /** Takes it down. */
  readonly stop: () => void;
}

export class InterruptForwarding {
  readonly #name: string;
  readonly #host: InterruptController;
  readonly #guest: InterruptController;
  readonly #forwards = new Map<number, Forward>();

  /** @param name the guest's, for handler and line names */
  constructor(name: string, host: InterruptController, guest: InterruptController) {
    this.#name = name;
    this.#host = host;
    this.#guest = guest;
  }

  /**
   * Forwards host interrupt `irq` to the guest under the same number.
   * @returns ends it; the last end takes it down and leaves the host's interrupt unmasked
   * @throws LabError EINVAL when nothing is wired to it, EBUSY when a host driver or another guest uses it: the guest
   * could keep it masked for them
   */
  forward(irq: number): () => void {
    const forward = this.#forwards.get(irq) ?? this.#start(irq);
    this.#forwards.set(irq, forward);
    forward.users++;
    return () => {
      if (--forward.users > 0) return;
      this.#forwards.delete(irq);
      forward.stop();
    };
  }

  #start(irq: number): Forward {
    const line = new InterruptLine(`${this.#name} irq ${irq}`);
    let isPending = false;
    const raise = (): boolean => {
      isPending = true;
      this.#host.mask(irq);
      line.raise();
      return true;
    };
    const end = (): void => {
      if (!isPending) return;
      isPending = false;
      line.lower();
      this.#host.unmask(irq);
    };
    // The host's side first: it is the one that can refuse.
    const free = this.#host.request(irq, `vm ${this.#name}`, raise, { isShared: false });
    const disconnect = this.#guest.connect(irq, line);
    const unhook = this.#guest.onEnd(irq, end);
    return {
      users: 0,
      stop: () => {
        free();
        unhook();
        end();
        disconnect();
      },
    };
  }
}
