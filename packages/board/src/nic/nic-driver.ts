/**
 * The NIC's driver. It maps each packet's buffer for the one transfer and unmaps it after, which is what an IOMMU makes
 * expensive; the rings are mapped once. It knows nothing of IOMMUs: all it has are the device's DMA operations.
 */
import type { Device } from '@iommu-lab/driver-core';
import { type CoherentBuffer, type DmaDirection, type DmaOps, getDmaOps } from '@iommu-lab/dma-mapping';
import type { Iova, PhysAddr } from '@iommu-lab/machine';
import { decodeDescriptor, DESCRIPTOR_BYTES, encodeDescriptor } from './descriptor.ts';
import type { NicRegisters } from './nic-model.ts';

/** What a driver is told, and what it asks of the kernel. */
export interface NicDriverOptions {
  /** Descriptors of each ring; one of each stays empty. */
  readonly ringEntries: number;
  /** Bytes of a receive buffer. */
  readonly bufferBytes: number;
  /** Memory for a receive buffer, within a page. @throws LabError ENOMEM */
  readonly allocateBuffer: () => PhysAddr;
  /** A packet has arrived; the buffer is the stack's. */
  readonly received: (buffer: PhysAddr, length: number) => void;
  /** A packet has been sent, or never will be; the buffer is the stack's again. */
  readonly sent: (buffer: PhysAddr) => void;
}

interface Slot {
  readonly buffer: PhysAddr;
  readonly address: Iova;
  readonly length: number;
}

export class NicDriver {
  /** Calls for packets so far. */
  maps = 0;
  unmaps = 0;
  readonly #nic: NicRegisters;
  readonly #dma: DmaOps;
  readonly #options: NicDriverOptions;
  readonly #tx: Ring;
  readonly #rx: Ring;

  /** Starts the NIC with a full receive ring. @throws LabError as `allocCoherent` and `mapSingle`; nothing is kept then */
  constructor(device: Device, nic: NicRegisters, options: NicDriverOptions) {
    const { ringEntries } = options;
    this.#nic = nic;
    this.#dma = getDmaOps(device);
    this.#options = options;
    this.#tx = new Ring(this.#dma, 'nic: tx ring', ringEntries);
    try {
      this.#rx = new Ring(this.#dma, 'nic: rx ring', ringEntries);
    } catch (error) {
      this.#tx.free();
      throw error;
    }
    const { dmaAddress: tx } = this.#tx.memory;
    nic.setRings({ tx, rx: this.#rx.memory.dmaAddress, entries: ringEntries });
    try {
      this.#refill();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Puts a packet on the transmit ring. @returns false when there is no room. @throws LabError as `mapSingle` */
  send(buffer: PhysAddr, length: number): boolean {
    if (this.#tx.isFull) return false;
    const address = this.#map(buffer, length, 'to-device', 'nic: tx packet');
    this.#tx.put({ buffer, address, length });
    this.#nic.setTxTail(this.#tx.tail);
    return true;
  }

  /** Takes from the rings what the device is done with. @throws LabError as `mapSingle` */
  poll(): void {
    for (let slot = this.#tx.takeDone(); slot !== undefined; slot = this.#tx.takeDone()) {
      this.#unmap(slot.address, slot.length, 'to-device');
      this.#options.sent(slot.buffer);
    }
    for (let slot = this.#rx.takeDone(); slot !== undefined; slot = this.#rx.takeDone()) {
      this.#unmap(slot.address, this.#options.bufferBytes, 'from-device');
      this.#options.received(slot.buffer, slot.length);
    }
    this.#refill();
  }

  /** Stops the NIC and gives everything back. */
  close(): void {
    this.#nic.setRings(undefined);
    for (const { buffer, address, length } of this.#tx.takeAll()) {
      this.#unmap(address, length, 'to-device');
      this.#options.sent(buffer);
    }
    for (const { buffer, address } of this.#rx.takeAll()) {
      this.#unmap(address, this.#options.bufferBytes, 'from-device');
      this.#options.sent(buffer);
    }
    this.#tx.free();
    this.#rx.free();
  }

  #map(buffer: PhysAddr, length: number, direction: DmaDirection, site: string): Iova {
    const address = this.#dma.mapSingle(buffer, length, direction, { site });
    this.maps++;
    return address;
  }

  #unmap(address: Iova, length: number, direction: DmaDirection): void {
    this.#dma.unmapSingle(address, length, direction);
    this.unmaps++;
  }

  #refill(): void {
    const { bufferBytes, allocateBuffer, sent } = this.#options;
    if (this.#rx.isFull) return;
    while (!this.#rx.isFull) {
      const buffer = allocateBuffer();
      try {
        const address = this.#map(buffer, bufferBytes, 'from-device', 'nic: rx buffer');
        this.#rx.put({ buffer, address, length: bufferBytes });
      } catch (error) {
        sent(buffer);
        throw error;
      }
    }
    this.#nic.setRxTail(this.#rx.tail);
  }
}

/** A ring as the driver keeps it: descriptors in coherent memory, and beside them what each stands for. */
class Ring {
  readonly memory: CoherentBuffer;
  readonly #dma: DmaOps;
  readonly #slots: (Slot | undefined)[];
  readonly #bytes = new Uint8Array(DESCRIPTOR_BYTES);
  #head = 0;
  /** Where the next descriptor goes. */
  tail = 0;

  constructor(dma: DmaOps, site: string, entries: number) {
    this.#dma = dma;
    this.#slots = Array.from({ length: entries }, () => undefined);
    this.memory = dma.allocCoherent(entries * DESCRIPTOR_BYTES, { site });
  }

  get isFull(): boolean {
    return (this.tail + 1) % this.#slots.length === this.#head;
  }

  put(slot: Slot): void {
    const { address, length } = slot;
    this.memory.write(this.tail * DESCRIPTOR_BYTES, encodeDescriptor({ address, length, isDone: false }));
    this.#slots[this.tail] = slot;
    this.tail = (this.tail + 1) % this.#slots.length;
  }

  /** The oldest one, if the device has written it back; `length` is what it says then. */
  takeDone(): Slot | undefined {
    const slot = this.#slots[this.#head];
    if (slot === undefined) return undefined;
    this.memory.read(this.#head * DESCRIPTOR_BYTES, this.#bytes);
    const { isDone, length } = decodeDescriptor(this.#bytes);
    if (!isDone) return undefined;
    this.#slots[this.#head] = undefined;
    this.#head = (this.#head + 1) % this.#slots.length;
    return { ...slot, length };
  }

  takeAll(): readonly Slot[] {
    const left = this.#slots.filter((slot) => slot !== undefined);
    this.#slots.fill(undefined);
    this.#head = this.tail;
    return left;
  }

  free(): void {
    this.#dma.freeCoherent(this.memory);
  }
}
