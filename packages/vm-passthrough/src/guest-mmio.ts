/** Registers as the guest reaches them: every access traps, and the host decides whether it goes through. */
import { hex, LabError, type MmioPort } from '@iommu-lab/machine';

/** A register window of an assigned device. Guest and host address are the same. */
export interface TrapWindow {
  /** Name of the assigned device. */
  readonly device: string;
  readonly start: number;
  readonly sizeBytes: number;
}

/**
 * Only the windows of assigned devices answer; everything else of the host is not there for the guest.
 */
export class GuestMmio implements MmioPort {
  readonly #host: MmioPort;
  readonly #windows = new Set<TrapWindow>();
  #trapCount = 0;

  constructor(host: MmioPort) {
    this.#host = host;
  }

  /** Accesses so far that trapped and went through. */
  get trapCount(): number {
    return this.#trapCount;
  }

  /** The first window that overlaps a range, or undefined. */
  overlapping(start: number, sizeBytes: number): TrapWindow | undefined {
    for (const window of this.#windows) {
      if (start < window.start + window.sizeBytes && window.start < start + sizeBytes) return window;
    }
    return undefined;
  }

  /** Lets a window through. @returns closes it */
  open(window: TrapWindow): () => void {
    this.#windows.add(window);
    return () => {
      this.#windows.delete(window);
    };
  }

  read32(address: number): number {
    this.#trap(address, 'read');
    return this.#host.read32(address);
  }

  write32(address: number, value: number): void {
    this.#trap(address, 'write');
    this.#host.write32(address, value);
  }

  #trap(address: number, access: string): void {
    if (this.overlapping(address, 1) !== undefined) {
      this.#trapCount++;
      return;
    }
    throw new LabError(
      'EFAULT',
      `register ${access} at ${hex(address)}: nothing answers there in the guest`,
      {
        address,
      },
    );
  }
}
