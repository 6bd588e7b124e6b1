import { expect, test } from '@jest/globals';
import { World } from '@iommu-lab/machine';
import fc from 'fast-check';
import { Gather, Iommu, type IoAddressSpace, READ_WRITE } from '../src/index.ts';
import { device, endpoint, K, M } from './fake-iommu.ts';
import { NARROW, ODD } from './space-fixture.ts';
import { TlbPark } from './tlb-iommu.ts';

const command = fc.record({
  what: fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom('map' as const, 'unmap' as const) },
    { weight: 1, arbitrary: fc.constantFrom('attach' as const, 'detach' as const, 'sync' as const) },
  ),
  pages: fc.integer({ min: 1, max: 9 }),
  which: fc.nat({ max: 100 }),
  gather: fc.nat({ max: 1 }),
});

interface Buffer {
  readonly iova: number;
  readonly sizeBytes: number;
  /** By which gather it is waited for; absent while it is mapped. */
  readonly gather?: number;
}

/** Three devices behind IOMMUs of three kinds, and what each has touched of each buffer since it joined. */
class Run {
  readonly world = new World();
  readonly park = new TlbPark();
  readonly iommu: Iommu = new Iommu(this.world);
  readonly iommus = [{}, ODD, NARROW].map((options, i) => this.park.add(this.world, `i${i}`, options));
  readonly devices = this.iommus.map((each, i) => device(`d${i}`, endpoint('c0', 0, each.provider)));
  readonly space: IoAddressSpace;
  readonly gathers = [new Gather(), new Gather()];
  readonly members = new Set<number>();
  buffers: Buffer[] = [];
  /** `member iova`: in that member's TLB. */
  readonly touched = new Set<string>();
  stale = 0;
  #next = M;

  constructor() {
    for (const each of this.iommus) this.iommu.registerInstance(each);
    for (const each of this.devices) this.iommu.configure(each);
    this.space = this.iommu.createAddressSpace('guest');
  }

  map(pages: number): void {
    const sizeBytes = pages * 16 * K;
    this.space.map(this.#next, this.#next + 64 * M, sizeBytes, READ_WRITE);
    this.buffers.push({ iova: this.#next, sizeBytes });
    this.#next += sizeBytes + (pages % 2) * 16 * K;
  }

  unmap(which: number, gather: number): void {
    const live = this.buffers.filter((b) => b.gather === undefined);
    const chosen = live[which % live.length];
    if (chosen === undefined) return;
    const removed = this.space.unmapFast(chosen.iova, chosen.sizeBytes, this.gathers[gather] as Gather);
    same(removed, chosen.sizeBytes, 'bytes unmapped');
    this.buffers[this.buffers.indexOf(chosen)] = { ...chosen, gather };
  }

  sync(gather: number): void {
    this.space.sync(this.gathers[gather] as Gather);
    same(this.gathers[gather]?.isEmpty, true, 'empty after its sync');
    for (const b of this.buffers) if (b.gather === gather) this.#checkGone(b);
    this.buffers = this.buffers.filter((b) => b.gather !== gather);
  }

  move(which: number, isIn: boolean): void {
    const member = which % 3;
    if (this.members.has(member) === isIn) return;
    if (isIn) this.space.attach(this.devices[member]!);
    else this.space.detach(this.devices[member]!);
    if (isIn) this.members.add(member);
    else this.members.delete(member);
    for (const each of this.touched) if (each.startsWith(`${member} `)) this.touched.delete(each);
  }

  /** Every page of every buffer, through every IOMMU. */
  check(): void {
    for (const { iova, sizeBytes, gather } of this.buffers) {
      for (let at = iova; at < iova + sizeBytes; at += 4 * K) {
        for (const [member, each] of this.iommus.entries()) {
          const key = `${member} ${iova}`;
          const isReached = gather === undefined ? this.members.has(member) : this.touched.has(key);
          same(each.access('c0', at), isReached ? at + 64 * M : undefined, key);
          if (isReached) this.touched.add(key);
          if (isReached && gather !== undefined) this.stale++;
        }
      }
    }
  }

  #checkGone({ iova, sizeBytes }: Buffer): void {
    for (let at = iova; at < iova + sizeBytes; at += 4 * K) {
      for (const each of this.iommus) same(each.access('c0', at), undefined, `${iova} is gone`);
    }
  }
}

test('property: whatever was unmapped stays reachable for who had touched it, until its own sync or until he leaves', () => {
  let stale = 0;
  fc.assert(
    fc.property(fc.array(command, { maxLength: 40, size: 'max' }), (commands) => {
      const run = new Run();
      for (const member of [0, 1]) run.move(member, true);
      for (const { what, pages, which, gather } of commands) {
        if (what === 'map') run.map(pages);
        if (what === 'unmap') run.unmap(which, gather);
        if (what === 'sync') run.sync(gather);
        if (what === 'attach' || what === 'detach') run.move(which, what === 'attach');
        run.check();
      }
      for (const gather of [0, 1]) run.sync(gather);
      same(run.park.waitingTables, 0, 'tables that wait');
      stale += run.stale;
    }),
    { numRuns: 60 },
  );
  expect(stale).toBeGreaterThan(1000);
});

/** `expect` is too slow for every page of every step. */
function same(got: unknown, wanted: unknown, what: string): void {
  if (got !== wanted) throw new Error(`${what}: ${String(got)}, not ${String(wanted)}`);
}
