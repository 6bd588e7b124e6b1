/**
 * Guest-physical memory as a MemoryPort: what the guest's kernel takes for RAM. The CPU's second-stage translation is
 * not modelled; this stands for its result.
 */
import { BUS_ERROR, type MemoryPort, type PhysAddr } from '@iommu-lab/machine';
import type { MemorySlots } from './memory-slots.ts';

/**
 * The guest's view through one of the host's views (cached or uncached). Addresses are guest-physical: in the guest
 * they are simply physical. A hole answers with a bus error, and a write that touches one stores nothing.
 */
export class GuestMemory implements MemoryPort {
  readonly #slots: MemorySlots;
  readonly #host: MemoryPort;

  constructor(slots: MemorySlots, host: MemoryPort) {
    this.#slots = slots;
    this.#host = host;
  }

  read(address: PhysAddr, into: Uint8Array): boolean {
    return this.#eachPiece(address, into, (host, bytes) => this.#host.read(host, bytes));
  }

  write(address: PhysAddr, from: Uint8Array): boolean {
    return this.#eachPiece(address, from, (host, bytes) => this.#host.write(host, bytes));
  }

  read32(address: PhysAddr): number {
    const host = this.#slots.translate(address);
    return host === undefined ? BUS_ERROR : this.#host.read32(host);
  }

  write32(address: PhysAddr, value: number): boolean {
    const host = this.#slots.translate(address);
    return host !== undefined && this.#host.write32(host, value);
  }

  #eachPiece(
    address: number,
    data: Uint8Array,
    move: (host: PhysAddr, bytes: Uint8Array) => boolean,
  ): boolean {
    const pieces = this.#slots.pieces(address, data.length);
    if (pieces === undefined) return false;
    let done = 0;
    for (const piece of pieces) {
      if (!move(piece.address, data.subarray(done, done + piece.length))) return false;
      done += piece.length;
    }
    return true;
  }
}
