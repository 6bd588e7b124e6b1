/** The driver's side of a media device: its registers, its interrupt, and the one job it can have. */
import type { Device } from '@iommu-lab/driver-core';
import {
  encode,
  extract,
  hex,
  isLabError,
  LabError,
  type MmioPort,
  type Register,
  type World,
} from '@iommu-lab/machine';
import { BUSY, COMMAND, ENABLE, FAULT_ADDRESS, STATUS } from '../registers/common.ts';
import type { JobResult } from './job.ts';

/** Why a job ended that its device's driver was taken from. */
const REMOVED: JobResult = { ok: false, address: 0, message: 'the driver was removed' };

/** What the registers must hold, in the order of the writes. */
export type RegisterProgram = readonly (readonly [Register, number])[];

export class Engine {
  readonly name: string;
  readonly #world: World;
  readonly #mmio: MmioPort;
  readonly #base: number;
  readonly #freeInterrupt: () => void;
  #ended: ((result: JobResult) => void) | undefined;
  #failure: JobResult | undefined;
  #isShutDown = false;

  /** Resets the device and requests its interrupt. @throws LabError ENODEV (no bus, resource), EINVAL, EFAULT, EIO */
  constructor(device: Device) {
    if (device.bus === undefined) throw new LabError('ENODEV', `${device.name} is on no bus`);
    const { world, mmio, interrupts } = device.bus.services;
    this.name = device.name;
    this.#world = world;
    this.#mmio = mmio;
    this.#base = device.memoryResource('regs').start;
    const { irq } = device.interruptResource('irq');
    this.write(COMMAND, encode(COMMAND, { RESET: 1 }));
    this.write(ENABLE, encode(ENABLE, { DONE: 1, ERROR: 1 }));
    this.#freeInterrupt = interrupts.request(irq, device.name, () => this.#interrupt());
  }

  read(register: Register): number {
    return this.#mmio.read32(this.#base + register.offset);
  }

  write(register: Register, value: number): void {
    this.#mmio.write32(this.#base + register.offset, value >>> 0);
  }

  /** @throws LabError EBUSY while a job runs, ENODEV once the driver was removed: a client may still hold its object */
  requireIdle(): void {
    if (this.#isShutDown)
      throw new LabError('ENODEV', `${this.name} has no driver any more`, { device: this.name });
    if (this.#ended !== undefined)
      throw new LabError('EBUSY', `${this.name} has a job`, { device: this.name });
  }

  /**
   * Programs the registers and starts the job. `ended` is called from the interrupt handler; a new job may be started
   * in it. @throws LabError EIO, EFAULT; no job runs then.
   */
  start(program: RegisterProgram, ended: (result: JobResult) => void): void {
    for (const [register, value] of program) this.write(register, value);
    this.write(COMMAND, encode(COMMAND, { START: 1 }));
    this.#failure = undefined;
    this.#ended = ended;
  }

  /** Silences the device and ends its job; never fails. */
  shutdown(): void {
    this.#isShutDown = true;
    this.#freeInterrupt();
    try {
      this.write(COMMAND, encode(COMMAND, { RESET: 1 }));
    } catch (error) {
      // Its clock may be off already; there is nothing more to be done about a device that cannot be reached.
      if (!isLabError(error)) throw error;
      this.#world.emit('media:unreachable', { device: this.name, error: error.message });
    }
    this.#end(REMOVED);
  }

  /** An ERROR may come before the job has ended (the display goes on): the first is kept until then. */
  #interrupt(): boolean {
    const status = this.read(STATUS);
    const isDone = extract(status, STATUS.fields.DONE) === 1;
    const isError = extract(status, STATUS.fields.ERROR) === 1;
    if (!isDone && !isError) return false;
    if (isError) this.#failure ??= this.#explain(status);
    this.write(STATUS, status);
    if (isDone || !this.#isBusy()) this.#end(this.#failure ?? { ok: true });
    return true;
  }

  #isBusy(): boolean {
    return this.read(BUSY) !== 0;
  }

  #explain(status: number): JobResult {
    if (extract(status, STATUS.fields.CONFIG) === 1) {
      return { ok: false, address: 0, message: `${this.name} refused its configuration` };
    }
    if (extract(status, STATUS.fields.OVERFLOW) === 1) {
      return { ok: false, address: 0, message: `${this.name}: the result does not fit the destination` };
    }
    const address = this.read(FAULT_ADDRESS);
    return { ok: false, address, message: `${this.name}: access to ${hex(address)} failed` };
  }

  #end(result: JobResult): void {
    const ended = this.#ended;
    this.#ended = undefined;
    this.#failure = undefined;
    ended?.(result);
  }
}
