/** A small DMA engine with registers, and its driver: the same driver for host and guest. */
import { getDmaOps } from '@iommu-lab/dma-mapping';
import type { Device, Driver } from '@iommu-lab/driver-core';
import {
  BusMaster,
  type BusPort,
  InterruptLine,
  type MmioDevice,
  type PhysAddr,
  type World,
} from '@iommu-lab/machine';

export const SRC = 0x0;
export const DST = 0x4;
export const LENGTH = 0x8;
/** Writing starts a copy. */
export const GO = 0xc;
/** Number of ended copies that were not acknowledged; writing acknowledges one. The line is high while it is not 0. */
export const ENDED = 0x10;
/** 1 when the last copy faulted. */
export const FAULTED = 0x14;

export class Copier implements MmioDevice {
  readonly line: InterruptLine;
  readonly #master: BusMaster;
  readonly #registers = new Map<number, number>();

  constructor(world: World, name: string, streamId: number, port: BusPort) {
    this.line = new InterruptLine(name);
    this.#master = new BusMaster(world, { name, streamId, port });
  }

  read32(offset: number): number {
    return this.#registers.get(offset) ?? 0;
  }

  write32(offset: number, value: number): void {
    if (offset === GO) this.#copy();
    else if (offset === ENDED) this.#setEnded(this.read32(ENDED) - 1);
    else this.#registers.set(offset, value);
  }

  /** DMA past the registers, as a device that runs on by itself. */
  dma(address: number, bytes: Uint8Array): string {
    return this.#master.write(address, bytes).state;
  }

  /** The same for reads. */
  dmaRead(address: number, into: Uint8Array): string {
    return this.#master.read(address, into).state;
  }

  #copy(): void {
    const bytes = new Uint8Array(this.read32(LENGTH));
    const isRead = this.#master.read(this.read32(SRC), bytes).state === 'done';
    const isDone = isRead && this.#master.write(this.read32(DST), bytes).state === 'done';
    this.#registers.set(FAULTED, isDone ? 0 : 1);
    this.#setEnded(this.read32(ENDED) + 1);
  }

  #setEnded(count: number): void {
    this.#registers.set(ENDED, count);
    this.line.set(count > 0);
  }
}

/** Where the driver stands after a copy. */
export interface CopierState {
  readonly interrupts: number;
  readonly hasFaulted: boolean;
}

export class CopierDriver implements Driver {
  readonly name = 'copier-driver';
  readonly #states = new Map<Device, { interrupts: number; hasFaulted: boolean; free: () => void }>();

  matches(device: Device): boolean {
    return device.compatible === 'lab,copier';
  }

  probe(device: Device): void {
    const { mmio, interrupts } = device.bus!.services;
    const base = device.memoryResource('regs').start;
    const state = { interrupts: 0, hasFaulted: false, free: (): void => undefined };
    state.free = interrupts.request(device.interruptResource('done').irq, device.name, () => {
      if (mmio.read32(base + ENDED) === 0) return false;
      state.interrupts++;
      state.hasFaulted = mmio.read32(base + FAULTED) === 1;
      mmio.write32(base + ENDED, 1);
      return true;
    });
    this.#states.set(device, state);
  }

  remove(device: Device): void {
    this.#states.get(device)?.free();
    this.#states.delete(device);
  }

  stateOf(device: Device): CopierState | undefined {
    return this.#states.get(device);
  }

  /** Copies through the DMA API, the way any driver would. @returns takes the mappings away */
  copy(device: Device, from: PhysAddr, to: PhysAddr, length: number): () => void {
    const dma = getDmaOps(device);
    const source = dma.mapSingle(from, length, 'to-device');
    const target = dma.mapSingle(to, length, 'from-device');
    this.start(device, source, target, length);
    return () => {
      dma.unmapSingle(source, length, 'to-device');
      dma.unmapSingle(target, length, 'from-device');
    };
  }

  /** Programs the registers with addresses as they are. */
  start(device: Device, source: number, target: number, length: number): void {
    const { mmio } = device.bus!.services;
    const base = device.memoryResource('regs').start;
    mmio.write32(base + SRC, source);
    mmio.write32(base + DST, target);
    mmio.write32(base + LENGTH, length);
    mmio.write32(base + GO, 1);
  }
}
