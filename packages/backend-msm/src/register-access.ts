/** Reads, writes and read-modify-writes of one instance's window, by offset. */
import { insert, type Field, type MmioPort } from '@iommu-lab/machine';

/** One window. @throws LabError EIO with the clock off, EFAULT outside a window (from every method) */
export class RegisterAccess {
  readonly #mmio: MmioPort;
  readonly #base: number;

  /** @param base physical address of the window */
  constructor(mmio: MmioPort, base: number) {
    this.#mmio = mmio;
    this.#base = base;
  }

  read(offset: number): number {
    return this.#mmio.read32(this.#base + offset);
  }

  write(offset: number, value: number): void {
    this.#mmio.write32(this.#base + offset, value);
  }

  /** One read, one write: what every field write of the kernel's driver is. */
  modify(offset: number, field: Field, value: number): void {
    this.write(offset, insert(this.read(offset), field, value));
  }
}
