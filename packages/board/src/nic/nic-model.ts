/**
 * A network interface as a bus master: it takes buffers from two descriptor rings in memory, moves packets between them and
 * the wire, and writes each descriptor back. Every byte goes over the bus, the descriptors too.
 *
 * Leaves out: registers by address (its few are methods here), interrupts (the driver polls, as Linux does under load),
 * offloads, and time: a packet is moved at once. The accesses of a NIC are well-behaved; `writeAgain` is the exception.
 */
import { type BusMaster, hex, type Transfer } from '@iommu-lab/machine';
import { decodeDescriptor, DESCRIPTOR_BYTES, encodeDescriptor, type NicDescriptor } from './descriptor.ts';

/** Where the rings are, as the device addresses them. */
export interface NicRings {
  readonly tx: number;
  readonly rx: number;
  /** Descriptors of each. */
  readonly entries: number;
}

/** What a driver writes to. */
export interface NicRegisters {
  /** Takes new rings and starts from their first descriptors; without rings it stops. */
  setRings(rings: NicRings | undefined): void;
  /** Descriptors before `tail` are the device's: it sends them. */
  setTxTail(tail: number): void;
  /** Descriptors before `tail` are the device's: it fills them as packets arrive. */
  setRxTail(tail: number): void;
}

export class NicModel implements NicRegisters {
  readonly #master: BusMaster;
  readonly #toWire: (packet: Uint8Array) => void;
  #rings: NicRings | undefined;
  #txHead = 0;
  #rxHead = 0;
  #rxTail = 0;
  #failure: string | undefined;
  #lastReceived: { readonly address: number; readonly length: number } | undefined;

  /** @param toWire hears of each packet that is sent */
  constructor(master: BusMaster, toWire: (packet: Uint8Array) => void) {
    this.#master = master;
    this.#toWire = toWire;
  }

  /** The access that did not get through; it has stopped with it. */
  get failure(): string | undefined {
    return this.#failure;
  }

  setRings(rings: NicRings | undefined): void {
    this.#rings = rings;
    this.#txHead = 0;
    this.#rxHead = 0;
    this.#rxTail = 0;
  }

  setTxTail(tail: number): void {
    const rings = this.#rings;
    while (rings !== undefined && this.#failure === undefined && this.#txHead !== tail) {
      const at = rings.tx + this.#txHead * DESCRIPTOR_BYTES;
      const descriptor = this.#fetch(at);
      if (descriptor === undefined) return;
      const packet = new Uint8Array(descriptor.length);
      if (!this.#isDone('read of a packet', this.#master.read(descriptor.address, packet))) return;
      this.#toWire(packet);
      if (!this.#writeBack(at, descriptor)) return;
      this.#txHead = (this.#txHead + 1) % rings.entries;
    }
  }

  setRxTail(tail: number): void {
    this.#rxTail = tail;
  }

  /** A packet arrives on the wire. @returns whether there was a buffer for all of it; else it is dropped */
  receive(packet: Uint8Array): boolean {
    const rings = this.#rings;
    if (rings === undefined || this.#failure !== undefined || this.#rxHead === this.#rxTail) return false;
    const at = rings.rx + this.#rxHead * DESCRIPTOR_BYTES;
    const descriptor = this.#fetch(at);
    if (descriptor === undefined || packet.length > descriptor.length) return false;
    if (!this.#isDone('write of a packet', this.#master.write(descriptor.address, packet))) return false;
    if (!this.#writeBack(at, { ...descriptor, length: packet.length })) return false;
    this.#lastReceived = { address: descriptor.address, length: packet.length };
    this.#rxHead = (this.#rxHead + 1) % rings.entries;
    return true;
  }

  /**
   * A defect: fills the buffer of the packet it received last once more, whoever has it by now.
   * @returns the access; undefined when nothing was ever received
   */
  writeAgain(byte: number): Transfer | undefined {
    const last = this.#lastReceived;
    return last && this.#master.write(last.address, new Uint8Array(last.length).fill(byte));
  }

  #fetch(address: number): NicDescriptor | undefined {
    const bytes = new Uint8Array(DESCRIPTOR_BYTES);
    if (!this.#isDone('read of a descriptor', this.#master.read(address, bytes))) return undefined;
    return decodeDescriptor(bytes);
  }

  #writeBack(address: number, descriptor: NicDescriptor): boolean {
    const bytes = encodeDescriptor({ ...descriptor, isDone: true });
    return this.#isDone('write of a descriptor', this.#master.write(address, bytes));
  }

  /** An access that is stopped, or held, is the last one. */
  #isDone(what: string, transfer: Transfer): boolean {
    if (transfer.state === 'done') return true;
    transfer.abandon();
    this.#failure = `the ${what} at ${hex(transfer.startAddress)} did not get through`;
    return false;
  }
}
