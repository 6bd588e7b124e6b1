import { describe, expect, test } from '@jest/globals';
import { type AttachTarget, READ_WRITE } from '@iommu-lab/iommu-core';
import { DEFAULT_ATTRIBUTES, type PhysAddr, type Transfer } from '@iommu-lab/machine';
import * as fc from 'fast-check';
import { FakeProcess, USER_END } from './fake-process.ts';
import { System } from './fixture.ts';

/** In RAM, so that identity has something to read too. */
const LOW = 0x40100000;
/** In the kernel's half: a domain may map it, a process's part of it is out of reach. */
const HIGH = USER_END + 0x100000;
const PAGES = 4;
const PAGE = 0x1000;
/** Tables fit as well, so nothing is driven out. */
const CACHE_SETS = 4096;
/** What stands where only an access with the wrong memory type looks. */
const POISON = 0xdead;

const ENDPOINT = { provider: 'rot', context: 'rot_src', streamIds: [0] };
type Kind = AttachTarget['kind'];
/** The independent oracle: what a read of each address gives. */
type Flat = ReadonlyMap<number, number | 'faulted'>;
const ADDRESSES = [LOW, HIGH].flatMap((base) => [...Array(PAGES).keys()].map((page) => at(base, page)));

const kind = fc.constantFrom<Kind>('sva', 'sva', 'paging', 'identity', 'blocked');
const ALL = [...Array(PAGES).keys()];
const pages = fc.oneof(fc.constant(ALL), fc.uniqueArray(fc.nat(PAGES - 1), { maxLength: PAGES }));
/** A fault stalls the bank, and whatever comes then waits: a master that faults rarely sees more of the way. */
const addresses = fc.oneof(
  fc.infiniteStream(fc.constantFrom(...ADDRESSES.slice(0, PAGES))),
  fc.infiniteStream(fc.constantFrom(...ADDRESSES.slice(PAGES))),
  fc.infiniteStream(fc.constantFrom(...ADDRESSES)),
);

/** Each page is looked at in a cache line of its own. */
function lineOf(base: number, page: number): number {
  return (base === HIGH ? 0x400 : 0) + page * 0x40;
}

function at(base: number, page: number): number {
  return base + page * PAGE + lineOf(base, page);
}

describe.each([
  { name: 'in place', contextBanks: 2, isAtomic: false },
  { name: 'through a spare bank', contextBanks: 3, isAtomic: true },
])('a switch from or to a process under a running master, $name,', ({ contextBanks, isAtomic }) => {
  test('shows each access the old or the new: no table by the attributes of another, no half of the kernel', () => {
    const outcomes = { old: 0, new: 0, both: 0 };
    fc.assert(
      fc.property(
        kind,
        kind,
        pages,
        pages,
        fc.boolean(),
        fc.constantFrom<'old' | 'new' | 'none'>('old', 'new', 'none'),
        addresses,
        fc.oneof(fc.constant(0), fc.nat(14)),
        (fromKind, toKind, oldPages, newPages, isPrivileged, neighbour, stream, quietSteps) => {
          const system = new System({ contextBanks, cacheSets: CACHE_SETS });
          const [from, fromFlat, fillOld] = make(system, fromKind, 'old', 0x40200000, 0xa00, oldPages);
          const [to, toFlat, fillNew] = make(system, toKind, 'new', 0x40300000, 0xb00, newPages);
          fillOld();
          fillNew();
          const instance = system.instance('rot');
          const blocked = { kind: 'blocked' } as const;
          const master = system.master(system.rot, 0, { ...DEFAULT_ATTRIBUTES, isPrivileged });
          instance.attach(ENDPOINT, from, blocked);
          if (neighbour !== 'none') {
            const target = neighbour === 'old' ? from : to;
            instance.attach({ provider: 'rot', context: 'rot_dst', streamIds: [1] }, target, blocked);
            for (const address of ADDRESSES) system.master(system.rot, 1).read(address, new Uint8Array(4));
            system.world.clock.run();
          }
          const reads: { address: number; transfer: Transfer; word: Uint8Array; isEarlier: boolean }[] = [];
          const issue = (address: number, isEarlier: boolean): void => {
            const word = new Uint8Array(4);
            reads.push({ address, word, transfer: master.read(address, word), isEarlier });
          };
          let isNewSeen = false;
          let steps = 0;
          const stop = system.world.interposer.observe(() => {
            // What stalls at an early step would keep all others from being seen.
            if (steps++ < quietSteps) return;
            const address = stream.next().value as number;
            issue(address, true);
            const last = reads.at(-1);
            if (
              !isAtomic ||
              last?.transfer.state !== 'done' ||
              fromFlat.get(address) === toFlat.get(address)
            ) {
              return;
            }
            const isNew = toFlat.get(address) === valueOf(last.word);
            check(isNew || !isNewSeen, 'the old translation after the new one');
            isNewSeen ||= isNew;
          });
          instance.attach(ENDPOINT, to, from);
          stop();
          system.world.clock.run();
          for (const address of ADDRESSES) issue(address, false);
          system.world.clock.run();
          for (const { address, transfer, word, isEarlier } of reads) {
            const seen = transfer.state === 'done' ? valueOf(word) : transfer.state;
            const [old, next] = [fromFlat.get(address), toFlat.get(address)];
            // What waits while a bank is reprogrammed, or for a verdict, is ended by the switch to identity.
            const isEnded = seen === 'faulted' && toKind === 'identity';
            // What a table refuses waits, and a table it is moved to has the last word.
            const isMoved = fromKind !== 'identity' && (toKind === 'paging' || toKind === 'sva');
            const isHeld = seen === 'faulted' && isMoved;
            const isOld = isEarlier && ((seen === old && !isHeld) || isEnded);
            check(isOld || seen === next, `${fromKind} to ${toKind}: ${seen} at ${address.toString(16)}`);
            if (isEarlier) outcomes[old === next ? 'both' : seen === next ? 'new' : 'old']++;
          }
          check(system.world.clock.waits().length === 0, 'an access hangs');
        },
      ),
      { numRuns: 150 },
    );
    expect(Math.min(outcomes.old, outcomes.new)).toBeGreaterThan(20);
  }, 60_000);
});

function make(
  system: System,
  wanted: Kind,
  name: string,
  target: number,
  mark: number,
  mapped: readonly number[],
): readonly [AttachTarget, Flat, () => void] {
  const stores: (() => void)[] = [];
  const fill = (): void => {
    for (const store of stores) store();
  };
  const flat = new Map<number, number | 'faulted'>(ADDRESSES.map((address) => [address, 'faulted']));
  if (wanted === 'blocked') return [{ kind: 'blocked' }, flat, fill];
  if (wanted === 'identity') {
    ALL.forEach((page) => {
      stores.push(() => store(system, at(LOW, page), 0x1d0 + page, undefined));
      flat.set(at(LOW, page), 0x1d0 + page);
    });
    return [{ kind: 'identity' }, flat, fill];
  }
  const instance = system.instance('rot');
  const process = new FakeProcess(system, name);
  const paging = instance.createPagingTable();
  for (const [half, base] of [LOW, HIGH].entries()) {
    for (const page of mapped) {
      const address = target + (half * PAGES + page) * PAGE;
      const value = mark + half * 0x10 + page;
      const iova = base + page * PAGE;
      if (wanted === 'paging') {
        paging.mapPages(iova, address, PAGE, 1, READ_WRITE);
        stores.push(() => store(system, address + lineOf(base, page), value, POISON));
        flat.set(at(base, page), value);
      } else {
        process.map(iova, address, { privileged: base === HIGH });
        stores.push(() => store(system, address + lineOf(base, page), POISON, value));
        if (base === LOW) flat.set(at(base, page), value);
      }
    }
  }
  if (wanted === 'paging') return [{ kind: 'paging', table: paging }, flat, fill];
  const table = instance.createProcessTable?.(process);
  if (table === undefined) throw new Error('no process table');
  return [{ kind: 'sva', table }, flat, fill];
}

/** In memory, and what the CPU's cache says it is. */
function store(system: System, address: number, inMemory: number, inCache: number | undefined): void {
  system.fill(address, inMemory);
  if (inCache !== undefined) system.cache.cached.write32(address as PhysAddr, inCache);
}

function valueOf(word: Uint8Array): number {
  return new DataView(word.buffer).getUint32(0, true);
}

/** As `expect`, without its price. */
function check(holds: boolean, otherwise: string): void {
  if (!holds) throw new Error(otherwise);
}
