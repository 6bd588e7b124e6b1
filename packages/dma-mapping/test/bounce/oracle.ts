/**
 * A naive oracle for a pool: a list of whose each slot is, and a copy of all memory. It knows the rules by trying every slot
 * there is; it knows no areas, no free runs and no order.
 */
import { hex, type PhysAddr } from '@iommu-lab/machine';
import type { BounceRequest, BounceSlot } from '../../src/bounce/bounce-slot.ts';
import { codeOf } from '../support/code-of.ts';
import { BUFFER_BYTES, BUFFERS, FRAMES, KIB, makeRig, request, type Rig } from './rig.ts';

/** A map; `original` is a distance from the first buffer. */
export interface MapStep {
  readonly kind: 'map';
  readonly original: number;
  readonly sizeBytes: number;
  readonly allocAlignMask: number;
  readonly minAlignMask: number;
  readonly segmentBoundaryMask: number;
  readonly limit: number;
  readonly isUntrusted: boolean;
  readonly cpu: number;
}

/** Something that happens to (part of) one that is mapped; `from` and `to` are fractions of its size. */
export interface OtherStep {
  readonly kind: 'release' | 'device' | 'in' | 'out';
  readonly which: number;
  readonly from: number;
  readonly to: number;
  readonly value: number;
}

const SLOT = 2 * KIB;
export const POOL_BYTES: number = 512 * KIB;

/** First and last byte of what a buffer at `address` takes of the pool. */
function taken(address: number, { sizeBytes, allocAlignMask }: BounceRequest): [number, number] {
  const unit = Math.max(SLOT, allocAlignMask + 1);
  const last = address + sizeBytes - 1;
  const lastOwned = last | allocAlignMask;
  return [address - (address % unit), (lastOwned >>> 0) | (SLOT - 1)].map((at) => at >>> 0) as [
    number,
    number,
  ];
}

/** Whether the rules allow the buffer at `address`. */
function isAllowed(address: number, wanted: BounceRequest): boolean {
  const { original, sizeBytes, limit, allocAlignMask, minAlignMask, segmentBoundaryMask: boundary } = wanted;
  const [first, last] = taken(address, wanted);
  const isPageRuled = allocAlignMask === 0 && minAlignMask === 0 && sizeBytes >= 4096;
  return (
    ((address ^ original) & minAlignMask) === 0 &&
    (!isPageRuled || first % 4096 === 0) &&
    first % (allocAlignMask + 1) === 0 &&
    first >>> 18 === last >>> 18 &&
    Math.floor(address / (boundary + 1)) === Math.floor((address + sizeBytes - 1) / (boundary + 1)) &&
    address + sizeBytes - 1 <= limit
  );
}

class Oracle {
  /** Which mapping has a slot; 0: none. */
  readonly owners: Uint32Array = new Uint32Array(POOL_BYTES / SLOT);
  readonly memory: Uint8Array = new Uint8Array(BUFFER_BYTES + POOL_BYTES);

  slotsOf(address: number, wanted: BounceRequest): number[] {
    const [first, last] = taken(address, wanted);
    const from = (first - FRAMES) / SLOT;
    return Array.from({ length: (last + 1 - first) / SLOT }, (_, i) => from + i);
  }

  /** Whether some place is free and allowed. */
  hasRoom(wanted: BounceRequest): boolean {
    const unit = Math.max(SLOT, wanted.allocAlignMask + 1);
    const offset = wanted.original & wanted.minAlignMask & (unit - 1);
    for (let start = FRAMES; start < FRAMES + POOL_BYTES; start += unit) {
      const address = start + offset;
      if (!isAllowed(address, wanted)) continue;
      if (this.slotsOf(address, wanted).every((slot) => this.owners[slot] === 0)) return true;
    }
    return false;
  }

  /** Index in `memory` of an address. */
  at(address: number): number {
    return address >= FRAMES ? BUFFER_BYTES + address - FRAMES : address - BUFFERS;
  }

  copy(from: number, to: number, length: number): void {
    this.memory.copyWithin(this.at(to), this.at(from), this.at(from) + length);
  }
}

/** A pool and its oracle through the same steps; each step and `check` throw when the two differ. */
export class Run {
  readonly rig: Rig = makeRig({ sizeBytes: POOL_BYTES, cpus: 2 }, POOL_BYTES);
  readonly oracle: Oracle = new Oracle();
  readonly live: { id: number; slot: BounceSlot; wanted: BounceRequest }[] = [];
  #id = 0;

  constructor() {
    for (let i = 0; i < BUFFER_BYTES; i++) this.oracle.memory[i] = (i * 31 + (i >> 7)) & 0xff;
    this.rig.memory.write(BUFFERS as PhysAddr, this.oracle.memory.subarray(0, BUFFER_BYTES));
  }

  map({ cpu, isUntrusted, original, ...rest }: MapStep): void {
    const { rig, oracle } = this;
    rig.world.currentCpu = cpu;
    const reason = isUntrusted ? 'untrusted-edge' : 'out-of-reach';
    const wanted = request({ original: BUFFERS + original, reason, ...rest });
    const before = rig.pool.occupancy.usedSlots;
    let slot: BounceSlot | undefined;
    const code = codeOf(() => {
      slot = rig.pool.map(wanted);
    });
    if (slot === undefined) {
      mustBe(code === 'EINVAL' || code === 'ENOMEM', `refused with ${code}`);
      mustBe(!oracle.hasRoom(wanted), `${code} though there is room`);
      // What is called impossible is: an empty pool could not serve it either, wherever its end of reach.
      const couldFit = new Oracle().hasRoom({ ...wanted, limit: Number.MAX_SAFE_INTEGER });
      mustBe(code === 'ENOMEM' || !couldFit, 'EINVAL though an empty pool has room');
      mustBe(rig.pool.occupancy.usedSlots === before, 'slots stayed taken');
      return;
    }
    mustBe(isAllowed(slot.address, wanted), `${hex(slot.address)} breaks a rule`);
    const slots = oracle.slotsOf(slot.address, wanted);
    mustBe(
      slots.every((index) => oracle.owners[index] === 0),
      `${hex(slot.address)} is taken`,
    );
    const id = ++this.#id;
    for (const index of slots) oracle.owners[index] = id;
    mustBe(rig.pool.occupancy.usedSlots === before + slots.length, 'a wrong number of slots');
    if (isUntrusted) {
      const start = BUFFER_BYTES + (slots[0] as number) * SLOT;
      oracle.memory.fill(0, start, start + slots.length * SLOT);
    }
    oracle.copy(wanted.original, slot.address, wanted.sizeBytes);
    this.live.push({ id, slot, wanted });
  }

  other({ kind, which, from, to, value }: OtherStep): void {
    const { rig, oracle, live } = this;
    const index = which % live.length;
    const taken = live[index];
    if (taken === undefined) return;
    const { id, slot } = taken;
    const offset = Math.floor(Math.min(from, to) * slot.sizeBytes);
    const length = Math.floor(Math.max(from, to) * slot.sizeBytes) - offset;
    switch (kind) {
      case 'release':
        rig.pool.release(slot);
        live.splice(index, 1);
        oracle.owners.forEach((owner, at) => {
          if (owner === id) oracle.owners[at] = 0;
        });
        break;
      case 'device': {
        const at = oracle.at(slot.address) + offset;
        oracle.memory.fill(value, at, at + length);
        rig.memory.write((slot.address + offset) as PhysAddr, oracle.memory.subarray(at, at + length));
        break;
      }
      case 'in':
        rig.pool.copyIn(slot, offset, length);
        oracle.copy(slot.original + offset, slot.address + offset, length);
        break;
      case 'out':
        rig.pool.copyOut(slot, offset, length);
        oracle.copy(slot.address + offset, slot.original + offset, length);
    }
  }

  /** All memory, whose each slot is, and how many are used. */
  check(): void {
    const { rig, oracle, live } = this;
    const memory = new Uint8Array(BUFFER_BYTES + POOL_BYTES);
    rig.memory.read(BUFFERS as PhysAddr, memory.subarray(0, BUFFER_BYTES));
    rig.memory.read(FRAMES as PhysAddr, memory.subarray(BUFFER_BYTES));
    mustBe(Buffer.compare(memory, oracle.memory) === 0, 'memory differs');
    const byId = new Map(live.map(({ id, slot }) => [id, slot]));
    oracle.owners.forEach((owner, at) => {
      mustBe(rig.pool.slotAt(FRAMES + at * SLOT) === byId.get(owner), `slot ${at} is another's`);
    });
    mustBe(rig.pool.live().length === live.length, 'a wrong number is out');
    const used = oracle.owners.filter((owner) => owner > 0).length;
    mustBe(rig.pool.occupancy.usedSlots === used, 'a wrong number of slots is used');
  }

  finish(): void {
    for (const { slot } of this.live.splice(0)) this.rig.pool.release(slot);
    const { usedSlots, mappings } = this.rig.pool.occupancy;
    mustBe(usedSlots === 0 && mappings === 0, 'something is left');
    const largest = Array.from({ length: POOL_BYTES / (256 * KIB) }, () =>
      this.rig.pool.map(request({ sizeBytes: 256 * KIB })),
    );
    mustBe(
      new Set(largest.map(({ address }) => address)).size === largest.length,
      'the largest mapping does not fit everywhere',
    );
  }
}

function mustBe(condition: boolean, message: string): void {
  if (!condition) throw new Error(message);
}
