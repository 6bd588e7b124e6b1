/**
 * An instance and the naive model beside it: one carries out what the other must agree with. Long because each
 * operation is carried out on both and compared in one place.
 */
import { resolveReadings, type Readings } from '../../src/readings.ts';
import type { MsmSmmuConfig } from '../../src/index.ts';
import { Rig, TABLE, regs } from './rig.ts';
import { LEAVES, TERMINATE, entriesOf, indexOf, lock, lookUp, setLockControl } from './tlb-pins.ts';
import {
  ModelTable,
  ModelTlb,
  type ModelAnswer,
  type ModelBank,
  type ModelConfig,
  type ModelLeaf,
  type Right,
} from './tlb-model.ts';

/** Small pages at the start of each of the two MiB that can have some; operations name 0 to 2 x PAGES - 1. */
export const PAGES = 32;

/** The maintenance operations. */
export type MaintenanceName =
  'TLBIVA' | 'TLBIVAA' | 'TLBIASID' | 'CTX_TLBIALL' | 'GLOBAL_TLBIALL' | 'TLBIVMID';

/** What can be done to both; `bank` is one of three, `page` counts in PAGES, `size` in LEAVES. */
export type Operation =
  | {
      readonly kind: 'map';
      readonly bank: number;
      readonly page: number;
      readonly size: number;
      readonly place: number;
      readonly isGlobal: boolean;
      readonly ap: number;
    }
  | { readonly kind: 'unmap'; readonly bank: number; readonly page: number }
  | { readonly kind: 'access'; readonly bank: number; readonly page: number; readonly isWrite: boolean }
  | { readonly kind: 'probe'; readonly bank: number; readonly page: number; readonly right: Right }
  | { readonly kind: 'look up'; readonly bank: number; readonly page: number }
  | {
      readonly kind: 'lock';
      readonly bank: number;
      readonly page: number;
      readonly right: Right;
      readonly index: number;
    }
  | { readonly kind: 'lock control'; readonly bank: number; readonly survive: number; readonly floor: number }
  | { readonly kind: 'global control'; readonly bits: number }
  | { readonly kind: 'asid'; readonly bank: number; readonly asid: number }
  | {
      readonly kind: 'maintenance';
      readonly name: MaintenanceName;
      readonly bank: number;
      readonly page: number;
      readonly asid: number;
    };

/** How often things happened. */
export interface Seen {
  answers: number;
  hits: number;
  stale: number;
  multiHits: number;
  multiHitFaults: number;
  replaced: number;
  lockedHits: number;
  locks: number;
  unkept: number;
}

const BASE = 0x01000000;
const MIB = 0x100000;
const MHF = 0x80;
const PROBES = { pr: regs.V2PPR, pw: regs.V2PPW, ur: regs.V2PUR, uw: regs.V2PUW } as const;
/** Rights by AP[1:0]. */
const RIGHTS: readonly (readonly Right[])[] = [
  [],
  ['pr', 'pw'],
  ['pr', 'pw', 'ur'],
  ['pr', 'pw', 'ur', 'uw'],
];

/** The two, with three banks. */
export class Pair {
  readonly rig: Rig;
  readonly config: ModelConfig;
  readonly seen: Seen;
  tlb: ModelTlb;
  banks: readonly ModelBank[] = [];
  #tag = 0;

  /** @param seen counts on */
  constructor(config: Partial<MsmSmmuConfig>, seen: Seen) {
    this.seen = seen;
    this.rig = new Rig(config);
    this.config = modelConfig(this.rig.smmu.config, resolveReadings(config.readings));
    this.tlb = new ModelTlb(this.config);
  }

  /** Power-on, then three banks: two on one table and VMID, one by itself; all small pages are mapped. */
  reset(): void {
    const { rig } = this;
    rig.smmu.reset();
    this.tlb = new ModelTlb(this.config);
    const shared = new ModelTable();
    this.banks = [
      { index: 0, vmid: 0, table: shared, asid: 1, survive: 0, floor: 0 },
      { index: 1, vmid: 0, table: shared, asid: 2, survive: 0, floor: 0 },
      { index: 2, vmid: 1, table: new ModelTable(), asid: 1, survive: 0, floor: 0 },
    ];
    for (const { index: at, vmid, asid: own } of this.banks) {
      rig.attach(at, { ttbr0: tableAt(vmid), cbacr: vmid << 16, asid: own, actlr: TERMINATE });
      rig.route(at, at, vmid);
    }
    for (const at of [0, 2]) {
      this.#change(at, (table) => {
        for (let each = 0; each < 2 * PAGES; each++) {
          table.leaves.push(leafOf({ page: each, size: 0, place: at + 1, isGlobal: each % 4 === 0, ap: 3 }));
        }
      });
    }
  }

  /** Carries out `op` on both. @returns what does not agree. */
  apply(op: Operation): string[] {
    const { rig, tlb } = this;
    switch (op.kind) {
      case 'map':
        this.#change(op.bank, (table) => table.map(leafOf(op)));
        return [];
      case 'unmap':
        this.#change(op.bank, (table) => {
          const leaf = table.find(addressOf(op.page));
          if (leaf !== undefined) table.leaves = table.leaves.filter((other) => other !== leaf);
        });
        return [];
      case 'access':
        return this.#access(this.#bank(op.bank), addressOf(op.page), op.isWrite);
      case 'probe': {
        const own = this.#bank(op.bank);
        const va = addressOf(op.page);
        const answer = this.#expect(own, va, op.right);
        const wrong = disagreement(answer, rig.probe(op.bank, va, PROBES[op.right]));
        return [...wrong, ...this.#settle(own, va, answer)];
      }
      case 'look up': {
        const answer = tlb.translate(this.#bank(op.bank), addressOf(op.page), 'pr', false);
        return disagreement(answer, lookUp(rig, op.bank, addressOf(op.page)).par);
      }
      case 'lock':
        return this.#lock(op.bank, op.page, op.right, op.index);
      case 'lock control': {
        const own = this.#bank(op.bank);
        Object.assign(own, { survive: op.survive, floor: op.floor });
        setLockControl(rig, op.bank, op.survive | (op.floor << 8));
        return [];
      }
      case 'global control':
        tlb.sparesAtAll = (op.bits & 1) === 1;
        tlb.sparesAtVmid = op.bits > 1;
        rig.put(regs.CR.offset, 0x40 | (op.bits << 7));
        return [];
      case 'asid':
        this.#bank(op.bank).asid = op.asid;
        rig.set(op.bank, regs.CONTEXTIDR, op.asid);
        return [];
      case 'maintenance':
        this.#maintain(op.name, this.#bank(op.bank), addressOf(op.page), op.asid);
        return [];
    }
  }

  /** Every entry as TLBRSW shows it, and as it must be. */
  entries(): { shown: unknown[]; expected: unknown[] } {
    const shown = [...entriesOf(this.rig, this.config.entries)].map(([at, entry]) => ({
      at,
      va: entry.va,
      // Of a failed walk that is kept, no address is said.
      pa: entry.rights === 0 ? 0 : entry.pa,
      vmid: entry.vmid,
      asid: entry.isGlobal ? 'any' : entry.asid,
      rights: entry.rights,
      sizeBytes: LEAVES[entry.size]?.[1],
    }));
    const expected = [...this.tlb.places.entries()].flatMap(([at, entry]) => {
      if (entry === undefined) return [];
      const { va, pa, vmid, sizeBytes, isGlobal, asid } = entry;
      return [
        { at, va, pa, vmid, asid: isGlobal ? 'any' : asid, rights: 2 ** entry.rights.length - 1, sizeBytes },
      ];
    });
    return { shown, expected };
  }

  #bank(at: number): ModelBank {
    return this.banks[at] as ModelBank;
  }

  #expect(own: ModelBank, va: number, asked: Right): ModelAnswer {
    const answer = this.tlb.translate(own, va, asked, true);
    this.#count(own, va, answer);
    return answer;
  }

  /** The load that `answer` says, where it went. */
  #settle(own: ModelBank, va: number, answer: ModelAnswer): string[] {
    if (answer.loaded === undefined) return [];
    const found = indexOf(this.rig, own.index, va);
    const { wrong, hasReplaced } = this.tlb.place(own, answer.loaded, found);
    if (hasReplaced) this.seen.replaced++;
    if (found === undefined) this.seen.unkept++;
    return wrong === undefined ? [] : [wrong];
  }

  #access(own: ModelBank, va: number, isWrite: boolean): string[] {
    const { rig } = this;
    const answer = this.#expect(own, va, isWrite ? 'uw' : 'ur');
    this.#tag++;
    if (!isWrite) for (const [i, address] of answer.addresses.entries()) rig.word(address, this.#tag * 4 + i);
    const value = isWrite
      ? rig.store(own.index, va, this.#tag).state === 'done' && this.#tag
      : (rig.load(own.index, va) ?? false);
    const fsr = rig.get(own.index, regs.FSR);
    rig.set(own.index, regs.FSR, fsr);
    const wrong: string[] = [];
    const mayFault = answer.fault !== 0;
    const mayPass = answer.addresses.length > 0;
    if (value === false) {
      if (!mayFault || (answer.fault > 0 && fsr !== answer.fault)) wrong.push(`FSR ${fsr.toString(16)}`);
    } else if (!mayPass || fsr !== 0) {
      wrong.push(`done, FSR ${fsr.toString(16)}`);
    } else {
      const isRight = isWrite
        ? answer.addresses.some((address) => rig.peek(address) === this.#tag)
        : answer.addresses.includes(answer.addresses[value - this.#tag * 4] ?? -1);
      if (!isRight) wrong.push(`went elsewhere: ${value}`);
    }
    return [...wrong, ...this.#settle(own, va, answer)];
  }

  #lock(at: number, pageIndex: number, asked: Right, target: number): string[] {
    const own = this.#bank(at);
    const va = addressOf(pageIndex);
    const before = this.tlb.translate(own, va, asked, true);
    // Which of two entries moves, and what becomes of one locked elsewhere, no rule says.
    const isMoot =
      before.matches.length > 1 ||
      before.matches.some((match) => this.tlb.locked.has(match) && match !== target);
    if (isMoot && this.config.locks) return [];
    const answer = this.#expect(own, va, asked);
    const wrong = disagreement(answer, lock(this.rig, at, va, target, PROBES[asked]));
    const isLocked = this.config.locks && answer.fault === 0 && target < this.config.entries;
    if (!isLocked) return [...wrong, ...this.#settle(own, va, answer)];
    this.seen.locks++;
    const [match] = answer.matches;
    const entry = match === undefined ? answer.loaded : this.tlb.places[match];
    if (entry !== undefined) this.tlb.lock(own, entry, answer.matches, target);
    const found = indexOf(this.rig, at, va);
    return found === target ? wrong : [...wrong, `locked at ${found} instead of ${target}`];
  }

  #maintain(name: MaintenanceName, own: ModelBank, va: number, asid: number): void {
    const { rig, tlb } = this;
    switch (name) {
      case 'TLBIVA':
        tlb.address(own, va, asid);
        rig.set(own.index, regs.TLBIVA, va | asid);
        break;
      case 'TLBIVAA':
        tlb.addressAllAsids(own, va);
        rig.set(own.index, regs.TLBIVAA, va);
        break;
      case 'TLBIASID':
        tlb.asid(own, asid);
        rig.set(own.index, regs.TLBIASID, asid);
        break;
      case 'CTX_TLBIALL':
        tlb.contextAll(own);
        rig.set(own.index, regs.CTX_TLBIALL, 0);
        break;
      case 'GLOBAL_TLBIALL':
        tlb.globalAll();
        rig.put(regs.GLOBAL_TLBIALL.offset, 0);
        break;
      case 'TLBIVMID':
        tlb.vmid(own.vmid);
        rig.put(regs.TLBIVMID.offset, own.vmid);
        break;
    }
  }

  #change(at: number, how: (table: ModelTable) => void): void {
    const { table, vmid } = this.#bank(at);
    how(table);
    this.#write(vmid, table);
  }

  /** Writes the descriptors of `table`, all of them. */
  #write(vmid: number, table: ModelTable): void {
    const { rig } = this;
    for (let mib = 0; mib < 16; mib++) {
      const start = BASE + mib * MIB;
      const second = 0x40020000 + vmid * 0x800 + mib * 0x400;
      const leaf = table.find(start);
      const pointer = table.hasSecondLevel(start) ? second | 1 : 0;
      const isLarge = leaf !== undefined && leaf.sizeBytes >= MIB;
      rig.word(tableAt(vmid) + (start >>> 20) * 4, isLarge ? descriptorOf(leaf) : pointer);
      if (mib > 1 || isLarge) continue;
      for (let at = 0; at < PAGES; at++) {
        const small = table.find(start + at * 0x1000);
        rig.word(second + at * 4, small === undefined ? 0 : descriptorOf(small));
      }
    }
  }

  #count(own: ModelBank, va: number, { matches, fault }: ModelAnswer): void {
    this.seen.answers++;
    if (matches.length > 0) this.seen.hits++;
    if (matches.length > 1) this.seen.multiHits++;
    if (fault === MHF) this.seen.multiHitFaults++;
    if (matches.some((match) => this.tlb.locked.has(match))) this.seen.lockedHits++;
    const entry = matches[0] === undefined ? undefined : this.tlb.places[matches[0]];
    const leaf = own.table.find(va);
    if (entry !== undefined && (leaf?.pa !== entry.pa || leaf.sizeBytes !== entry.sizeBytes))
      this.seen.stale++;
  }
}

function modelConfig(config: Rig['smmu']['config'], readings: Readings): ModelConfig {
  return {
    entries: config.tlbEntries,
    ways: config.tlbWays,
    multiHitFaults: readings.multiHit === 'fault',
    keepsFailures: readings.failedWalks === 'kept',
    perBank: readings.tlbTags === 'bank-vmid-and-asid',
    scope: readings.contextInvalidateScope,
    asidDropsGlobals: readings.asidInvalidateGlobals === 'dropped',
    addressDropsGlobals: readings.addressInvalidateGlobals === 'dropped',
    locks: readings.lockdown === 'entries',
    sparesByCr: readings.globalInvalidateLocked === 'by-cr',
  };
}

function tableAt(vmid: number): number {
  return TABLE + vmid * 0x4000;
}

function addressOf(pageIndex: number): number {
  return BASE + Math.floor(pageIndex / PAGES) * MIB + (pageIndex % PAGES) * 0x1000;
}

function leafOf(op: Omit<Extract<Operation, { kind: 'map' }>, 'kind' | 'bank'>): ModelLeaf {
  const sizeBytes = LEAVES[op.size]?.[1] ?? 0x1000;
  const va = addressOf(op.page) - (addressOf(op.page) % sizeBytes);
  const pa = 0x40000000 + op.place * 0x1000000 + (va % 0x1000000);
  return { va, sizeBytes, pa, isGlobal: op.isGlobal, rights: RIGHTS[op.ap] ?? [] };
}

function descriptorOf({ sizeBytes, pa, isGlobal, rights }: ModelLeaf): number {
  const apBits = rights.length - 1;
  const notGlobal = isGlobal ? 0 : 1;
  if (sizeBytes >= MIB) {
    const isSuper = sizeBytes > MIB ? 1 << 18 : 0;
    return (pa | isSuper | (notGlobal << 17) | 0x10000 | (apBits << 10) | 6) >>> 0;
  }
  return (pa | (notGlobal << 11) | 0x400 | (apBits << 4) | (sizeBytes === 0x1000 ? 6 : 5)) >>> 0;
}

/** Compares a PAR with what the model says. */
function disagreement(answer: ModelAnswer, par: number): string[] {
  const hex = par.toString(16);
  if ((par & 1) === 1) {
    if (answer.fault === 0) return [`PAR ${hex} instead of a translation`];
    return answer.fault > 0 && par !== (answer.fault | 1)
      ? [`PAR ${hex}, not ${answer.fault.toString(16)}`]
      : [];
  }
  const granule = answer.isSuper ? 0x1000000 : 0x1000;
  const isRight = answer.addresses.some((address) => address - (address % granule) === par - (par % granule));
  return isRight ? [] : [`PAR ${hex} translates`];
}
