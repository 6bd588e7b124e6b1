/** One job through one answer in one situation, on the hardware; what comes of it is what happened. */
import type { Device } from '@iommu-lab/driver-core';
import { KernelBug } from '@iommu-lab/iommu-core/linux-2010';
import {
  type BusMaster,
  type ErrorCode,
  hex,
  isLabError,
  LabError,
  type PhysAddr,
  type Transfer,
} from '@iommu-lab/machine';
import type { Answer, Buffer, MappingSet } from './answer.ts';
import type { Lab } from './lab.ts';
import { type Situation, saidIn } from './situations.ts';

/** `BUG`: the kernel of the time would have stopped. */
export type Outcome = 'ok' | ErrorCode | 'BUG';

export interface Played {
  readonly outcome: Outcome;
  /** The error's message; empty when it went well. */
  readonly message: string;
  /** Hardware tables that held the mappings, and their bytes; undefined when it did not get so far. */
  readonly tables: { readonly count: number; readonly bytes: number } | undefined;
  /** What is left behind; empty as it should be. */
  readonly left: string;
}

/** Whole pages of every kind of IOMMU: the largest granule there is. */
const BUFFER_BYTES = 0x4000;
/** In the window of every kind of IOMMU. */
const BUFFER_IOVA = 0x1400_0000;
const HALF = BUFFER_BYTES / 2;

/** @throws LabError ENOMEM without a buffer; what a device throws that does not come back to the core */
export function play(lab: Lab, answer: Answer, situation: Situation): Played {
  const { frames, tables, iommu, bus } = lab.system;
  const devices = situation.devices(lab);
  const bytesBefore = tables.allocatedBytes;
  const address = frames.allocateContiguous(BUFFER_BYTES, BUFFER_BYTES);
  const run = new Run(lab, answer, situation, devices, address);
  let outcome: Outcome = 'ok';
  let message = '';
  try {
    run.do();
  } catch (error) {
    if (isLabError(error)) outcome = error.code;
    else if (error instanceof KernelBug) outcome = 'BUG';
    else throw error;
    ({ message } = error);
  } finally {
    try {
      run.takeDown();
    } finally {
      frames.free(address, BUFFER_BYTES);
    }
  }
  const strays = bus.devices.filter((d) => iommu.domainOf(d) !== iommu.defaultDomainOf(d));
  const leftBytes = tables.allocatedBytes - bytesBefore;
  const left = [
    ...strays.map((device) => `${device.name} is not back on its default domain`),
    ...(leftBytes === 0 ? [] : [`${leftBytes} bytes of tables`]),
  ];
  return { outcome, message, tables: run.tables, left: left.join(', ') };
}

class Run {
  tables: Played['tables'];
  readonly #lab: Lab;
  readonly #answer: Answer;
  readonly #situation: Situation;
  readonly #devices: readonly Device[];
  readonly #address: PhysAddr;
  readonly #buffer: Buffer;
  #set: MappingSet | undefined;

  constructor(lab: Lab, answer: Answer, situation: Situation, devices: readonly Device[], address: PhysAddr) {
    this.#lab = lab;
    this.#answer = answer;
    this.#situation = situation;
    this.#devices = devices;
    this.#address = address;
    this.#buffer = { address, sizeBytes: BUFFER_BYTES, iova: BUFFER_IOVA };
  }

  /** @throws LabError, KernelBug: the answer's, or EFAULT where a device is refused, EIO where it should have been */
  do(): void {
    const { name, mapsFirst = false } = this.#situation;
    const set = this.#answer.open(
      this.#lab,
      saidIn(this.#lab, this.#situation, `${this.#answer.name}/${name}`),
    );
    this.#set = set;
    let at = mapsFirst ? set.map(this.#buffer) : 0;
    for (const device of this.#devices) set.attach(device);
    if (!mapsFirst) at = set.map(this.#buffer);
    const tables = set.tables();
    this.tables = {
      count: tables.length,
      bytes: tables.reduce((sum, { tableBytes }) => sum + tableBytes, 0),
    };
    const masters = this.#devices.flatMap((device) => this.#lab.mastersOf(device));
    masters.forEach((master, i) => this.#exchange(master, at, i));
    set.unmap(this.#buffer);
    for (const master of masters) this.#mustBeStopped(master, at);
  }

  takeDown(): void {
    this.#set?.close();
    this.#lab.returnToCore();
  }

  /** The device reads what the CPU wrote, and the CPU what the device wrote. */
  #exchange(master: BusMaster, at: number, salt: number): void {
    const { cached } = this.#lab.system.cache;
    const sent = pattern(salt * 2);
    cached.write(this.#address, sent);
    this.#handOver();
    const got = new Uint8Array(HALF);
    this.#mustPass(master.read(at, got), master, 'read', at);
    const back = pattern(salt * 2 + 1);
    this.#mustPass(master.write(at + HALF, back), master, 'write', at + HALF);
    this.#handOver();
    const all = new Uint8Array(BUFFER_BYTES);
    cached.read(this.#address, all);
    const isSame =
      got.every((byte, i) => byte === sent[i]) && back.every((byte, i) => byte === all[HALF + i]);
    if (!isSame) throw new LabError('EIO', `${master.name} and the CPU do not see the same bytes`);
  }

  #mustPass(transfer: Transfer, { name }: BusMaster, direction: string, at: number): void {
    if (this.#end(transfer) === 'done') return;
    throw new LabError('EFAULT', `the ${direction} of ${name} at ${hex(at)} was stopped`, { device: name });
  }

  #mustBeStopped(master: BusMaster, at: number): void {
    if (this.#end(master.read(at, new Uint8Array(HALF))) === 'faulted') return;
    throw new LabError('EIO', `${master.name} still reads the buffer after it was unmapped`);
  }

  /** @throws LabError ETIMEDOUT */
  #end(transfer: Transfer): Transfer['state'] {
    const { system } = this.#lab;
    system.runUntil(() => transfer.state !== 'pending', 'an access does not end');
    system.world.clock.run();
    return transfer.state;
  }

  /** From the CPU to a device or back: nothing of the buffer stays in the cache. */
  #handOver(): void {
    this.#lab.system.cache.cleanInvalidate(this.#address, BUFFER_BYTES);
  }
}

function pattern(salt: number): Uint8Array {
  return Uint8Array.from({ length: HALF }, (_, i) => (i * 13 + salt * 29 + (i >> 8)) & 0xff);
}
