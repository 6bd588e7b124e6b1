/** A device's side of the bus: turns a transfer into accesses, each within a page, and keeps its place. */
import { hex } from './address.ts';
import {
  ACCESS_PAGE_BYTES,
  DEFAULT_ATTRIBUTES,
  type AccessAttributes,
  type BusAccess,
  type BusPort,
  type ResumeOutcome,
} from './bus.ts';
import { LabError } from './errors.ts';
import type { World } from './world.ts';

/** What a master is made from. */
export interface BusMasterOptions {
  readonly name: string;
  /** Stream id it issues with (MSM: MID). */
  readonly streamId: number;
  readonly port: BusPort;
  readonly attributes?: AccessAttributes;
}

/** Where a transfer stands. */
export type TransferState = 'done' | 'faulted' | 'pending';

/** A transfer under way or ended. `pending` means an access is parked; the transfer goes on by itself when resumed. */
export interface Transfer {
  readonly state: TransferState;
  /** Address of the first byte. */
  readonly startAddress: number;
  readonly sizeBytes: number;
  /** Bytes moved so far; a fault leaves it at the start of the access that faulted. */
  readonly doneBytes: number;
  /** Calls `listener` once the transfer has ended; at once if it has. */
  onEnd(listener: (state: 'done' | 'faulted') => void): void;
  /**
   * The master was reset. An access that is parked is on the bus and ends as its holder decides, but it is the last one;
   * the transfer counts as faulted unless nothing was left. Harmless once it has ended.
   */
  abandon(): void;
  /** Where it stands, as plain data; see `BusMaster.restore`. */
  snapshot(): TransferSnapshot;
}

/** A pending transfer as plain data. The bytes themselves stay with whoever owns them. */
export interface TransferSnapshot {
  readonly startAddress: number;
  readonly doneBytes: number;
  readonly isWrite: boolean;
  readonly isAbandoned: boolean;
}

/** Issues transfers of any length. An access that was tried again may park again; the transfer goes on waiting. */
export class BusMaster {
  readonly name: string;
  readonly streamId: number;
  readonly #world: World;
  readonly #port: BusPort;
  readonly #attributes: AccessAttributes;

  constructor(world: World, options: BusMasterOptions) {
    this.#world = world;
    this.name = options.name;
    this.streamId = options.streamId;
    this.#port = options.port;
    this.#attributes = options.attributes ?? DEFAULT_ATTRIBUTES;
  }

  /** Reads `into.length` bytes from `address` on. @throws LabError EINVAL on an address that is none. */
  read(address: number, into: Uint8Array): Transfer {
    return this.#start(address, into, false);
  }

  /** Writes `from` at `address`. The bytes must not change until the transfer ends. @throws LabError EINVAL. */
  write(address: number, from: Uint8Array): Transfer {
    return this.#start(address, from, true);
  }

  /**
   * The pending transfer of a snapshot again, on the same bytes. It is not issued: what it waits for is `resume`, which
   * whoever held its parked access calls. Listeners are not part of a snapshot.
   * @throws LabError EINVAL on a snapshot that does not fit `data`
   */
  restore(snapshot: TransferSnapshot, data: Uint8Array): Transfer & BusAccess {
    if (snapshot.doneBytes < 0 || snapshot.doneBytes >= data.length) {
      throw new LabError('EINVAL', `${this.name}: nothing is left of that transfer`, { ...snapshot });
    }
    const transfer = this.#make(snapshot.startAddress, data, snapshot.isWrite);
    transfer.waitAgain(snapshot);
    return transfer;
  }

  #start(address: number, data: Uint8Array, isWrite: boolean): Transfer {
    const transfer = this.#make(address, data, isWrite);
    transfer.issue();
    return transfer;
  }

  #make(address: number, data: Uint8Array, isWrite: boolean): RunningTransfer {
    if (!Number.isSafeInteger(address) || address < 0) {
      throw new LabError('EINVAL', `${this.name}: not an address`, { address });
    }
    return new RunningTransfer(
      this.#world,
      this.#port,
      this.name,
      this.streamId,
      this.#attributes,
      address,
      data,
      isWrite,
    );
  }
}

class RunningTransfer implements Transfer, BusAccess {
  state: TransferState = 'pending';
  address: number;
  offset = 0;
  length = 0;
  readonly startAddress: number;
  readonly #world: World;
  readonly #port: BusPort;
  readonly #listeners: ((state: 'done' | 'faulted') => void)[] = [];
  #endWait: (() => void) | undefined;
  #isAbandoned = false;
  readonly masterName: string;
  readonly streamId: number;
  readonly attributes: AccessAttributes;
  readonly data: Uint8Array;
  readonly isWrite: boolean;

  constructor(
    world: World,
    port: BusPort,
    masterName: string,
    streamId: number,
    attributes: AccessAttributes,
    address: number,
    data: Uint8Array,
    isWrite: boolean,
  ) {
    this.#world = world;
    this.#port = port;
    this.masterName = masterName;
    this.streamId = streamId;
    this.attributes = attributes;
    this.startAddress = address;
    this.address = address;
    this.data = data;
    this.isWrite = isWrite;
  }

  get sizeBytes(): number {
    return this.data.length;
  }

  get doneBytes(): number {
    return this.offset;
  }

  onEnd(listener: (state: 'done' | 'faulted') => void): void {
    if (this.state === 'pending') this.#listeners.push(listener);
    else listener(this.state);
  }

  abandon(): void {
    this.#isAbandoned = true;
  }

  snapshot(): TransferSnapshot {
    const { startAddress, doneBytes, isWrite } = this;
    return { startAddress, doneBytes, isWrite, isAbandoned: this.#isAbandoned };
  }

  resume(outcome: ResumeOutcome): void {
    this.#endWait?.();
    this.#endWait = undefined;
    if (outcome === 'terminate') return this.#end('faulted');
    if (outcome === 'ignore') {
      if (!this.isWrite) this.data.fill(0, this.offset, this.offset + this.length);
      if (!this.#advance()) return;
    }
    this.issue();
  }

  /** Issues accesses until the transfer ends or one of them parks. */
  issue(): void {
    while (this.offset < this.data.length) {
      this.#aim();
      const status = this.#port.access(this);
      if (status === 'faulted') return this.#end('faulted');
      if (status === 'parked') return this.#wait();
      if (!this.#advance()) return;
    }
    this.#end('done');
  }

  /** Stands where a snapshot says, as after its access had parked. */
  waitAgain(snapshot: TransferSnapshot): void {
    this.offset = snapshot.doneBytes;
    this.#isAbandoned = snapshot.isAbandoned;
    this.#aim();
    this.#wait();
  }

  /** Sets up the next access: what is left, within the page. */
  #aim(): void {
    this.address = this.startAddress + this.offset;
    this.length = Math.min(
      this.data.length - this.offset,
      ACCESS_PAGE_BYTES - (this.address % ACCESS_PAGE_BYTES),
    );
  }

  #wait(): void {
    this.#endWait = this.#world.clock.wait(
      `${this.masterName} (stream ${this.streamId}): ${this.isWrite ? 'write' : 'read'} at ${hex(this.address)} is stalled`,
    );
  }

  /** The access is over. @returns false if the transfer ended with it. */
  #advance(): boolean {
    this.offset += this.length;
    if (!this.#isAbandoned || this.offset === this.data.length) return true;
    this.#end('faulted');
    return false;
  }

  #end(state: 'done' | 'faulted'): void {
    this.state = state;
    for (const listener of this.#listeners.splice(0)) listener(state);
  }
}
