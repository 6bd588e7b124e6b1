import { describe, expect, test } from '@jest/globals';
import { World } from '@iommu-lab/machine';
import { Gather, Iommu, type IommuDomain, type IoAddressSpace, READ_WRITE } from '../src/index.ts';
import { codeOf, device, endpoint, faultReport, K, M } from './fake-iommu.ts';
import { NARROW, ODD } from './space-fixture.ts';
import { TlbPark } from './tlb-iommu.ts';

/** What deferred invalidation needs of a set of mappings. */
interface Deferring {
  unmapFast(iova: number, sizeBytes: number, gather: Gather, by?: string): number;
  sync(gather: Gather): void;
}

/** Devices `a` and `c` in an address space, behind IOMMUs of two kinds; `n` outside, behind a third. */
function start() {
  const world = new World();
  const iommu = new Iommu(world);
  const park = new TlbPark();
  const fake = park.add(world, 'fake');
  const odd = park.add(world, 'odd', ODD);
  const narrow = park.add(world, 'narrow', NARROW);
  for (const each of park.iommus) iommu.registerInstance(each);
  const a = device('a', endpoint('c0', 0));
  const c = device('c', endpoint('c0', 0, 'odd'));
  const n = device('n', endpoint('c0', 0, 'narrow'));
  for (const each of [a, c, n]) iommu.configure(each);
  const space = iommu.createAddressSpace('guest');
  space.attach(a);
  space.attach(c);
  /** Where `iova` leads for a, c and n. */
  const reach = (iova: number) => [fake, odd, narrow].map((each) => each.access('c0', iova));
  return { world, iommu, park, fake, odd, narrow, a, c, n, space, reach };
}

const NOWHERE = [undefined, undefined, undefined];

describe('deferred invalidation in an address space', () => {
  test('what was unmapped works in every domain until the sync, and then nowhere', () => {
    const { space, reach, park } = start();
    space.map(16 * M, 64 * M, M, READ_WRITE);
    const last = 17 * M - 4;
    const before = [16 * M, last].map(reach);
    expect(before).toEqual([
      [64 * M, 64 * M, undefined],
      [65 * M - 4, 65 * M - 4, undefined],
    ]);
    const gather = new Gather();
    expect(space.unmapFast(16 * M, M, gather)).toBe(M);
    expect([16 * M, last].map(reach)).toEqual(before);
    expect([space.mappings(), space.iovaToPhys(16 * M), gather.isEmpty]).toEqual([[], undefined, false]);
    space.sync(gather);
    expect([16 * M, last].map(reach)).toEqual([NOWHERE, NOWHERE]);
    expect([gather.isEmpty, park.waitingTables]).toEqual([true, 0]);
  });

  test('unmap is both: what it removed works nowhere when it returns', () => {
    const { space, reach } = start();
    for (const iova of [16 * M, 18 * M]) {
      space.map(iova, 64 * M, 16 * K, READ_WRITE);
      reach(iova);
    }
    expect(space.unmap(0, 32 * M)).toBe(32 * K);
    expect([16 * M, 18 * M].map(reach)).toEqual([NOWHERE, NOWHERE]);
  });

  test('what no TLB has works nowhere from the unmap on', () => {
    const { space, reach } = start();
    space.map(16 * M, 64 * M, 16 * K, READ_WRITE);
    space.unmapFast(16 * M, 16 * K, new Gather());
    expect(reach(16 * M)).toEqual(NOWHERE);
  });

  test('each domain is told of its own pages, whatever size they have in the others', () => {
    const { space, reach, fake, odd } = start();
    // 4 KiB and 64 KiB pages here, 16 KiB pages there.
    space.map(16 * M, 64 * M + 16 * K, 80 * K, READ_WRITE);
    space.map(32 * M, 64 * M, 128 * K, READ_WRITE);
    for (let iova = 16 * M; iova < 16 * M + 80 * K; iova += 4 * K) reach(iova);
    for (let iova = 32 * M; iova < 32 * M + 128 * K; iova += 4 * K) reach(iova);
    const gather = new Gather();
    for (const iova of [32 * M, 16 * M]) space.unmapFast(iova, M, gather);
    const count = [fake, odd].map((each) => each.calls.length);
    space.sync(gather);
    expect([fake, odd].map((each, i) => each.calls.slice(count[i]))).toEqual([
      ['sync 0x02000000+131072 0x01000000+81920'],
      ['sync 0x02000000+131072 0x01000000+81920'],
    ]);
    for (let iova = 16 * M; iova < 16 * M + 80 * K; iova += 4 * K) expect(reach(iova)).toEqual(NOWHERE);
    for (let iova = 32 * M; iova < 32 * M + 128 * K; iova += 4 * K) expect(reach(iova)).toEqual(NOWHERE);
  });

  test('table memory waits for the sync, and so does what the caller leaves to the gather', () => {
    const { space, reach, park } = start();
    space.map(16 * M, 64 * M, 16 * K, READ_WRITE);
    reach(16 * M);
    const gather = new Gather();
    space.unmapFast(16 * M, 16 * K, gather);
    expect(park.waitingTables).toBe(2);
    let atFree: unknown;
    gather.freeLater(() => (atFree = [park.waitingTables, reach(16 * M)]));
    space.sync(gather);
    expect(atFree).toEqual([0, NOWHERE]);
  });

  test('a gather serves again after its sync', () => {
    const { space, reach } = start();
    const gather = new Gather();
    for (const iova of [16 * M, 18 * M]) {
      space.map(iova, 64 * M, 16 * K, READ_WRITE);
      reach(iova);
      space.unmapFast(iova, 16 * K, gather);
      space.sync(gather);
      expect([reach(iova), gather.isEmpty]).toEqual([NOWHERE, true]);
    }
  });

  test('over one domain the gather itself holds the ranges', () => {
    const { space, c } = start();
    space.detach(c);
    space.map(16 * M, 64 * M, 64 * K, READ_WRITE);
    const gather = new Gather();
    space.unmapFast(16 * M, 64 * K, gather);
    expect(gather.ranges).toEqual([{ iova: 16 * M, sizeBytes: 64 * K, pageSize: 64 * K }]);
    space.sync(gather);
    expect(gather.ranges).toEqual([]);
  });

  test('over no domain there is nothing to wait for, and the sync still frees', () => {
    const { space, a, c } = start();
    for (const each of [a, c]) space.detach(each);
    space.map(16 * M, 64 * M, 64 * K, READ_WRITE);
    const gather = new Gather();
    expect([space.unmapFast(16 * M, 64 * K, gather), gather.isEmpty]).toEqual([64 * K, true]);
    let isFreed = false;
    gather.freeLater(() => (isFreed = true));
    space.sync(gather);
    expect([isFreed, gather.isEmpty]).toEqual([true, true]);
  });

  test('an unmap that is refused leaves the gather empty', () => {
    const { space } = start();
    space.map(16 * M, 64 * M, 64 * K, READ_WRITE);
    const gather = new Gather();
    expect(codeOf(() => space.unmapFast(0, 16 * M + 16 * K, gather))).toBe('EINVAL');
    expect(codeOf(() => space.unmapFast(0, 0, gather))).toBe('EINVAL');
    expect([gather.isEmpty, space.mappedBytes]).toEqual([true, 64 * K]);
  });

  test('reports and remembers what unmap does', () => {
    const traces = [false, true].map((isFast) => {
      const { world, iommu, fake, space } = start();
      space.mapSg(
        16 * M,
        [
          { address: 64 * M, length: 16 * K },
          { address: M, length: 16 * K },
        ],
        READ_WRITE,
        'video: in',
      );
      world.clock.advance(100);
      const events: unknown[] = [];
      world.events.subscribe(({ name, fields }) => events.push([name, fields]));
      const gather = new Gather();
      const removed = isFast
        ? space.unmapFast(15 * M, 2 * M, gather, 'video: stop')
        : space.unmap(15 * M, 2 * M, 'video: stop');
      const fault = faultReport({ context: 'c0', streamId: 0, iova: 16 * M + 16 * K });
      let explained: unknown;
      iommu.onFault((f) => void (explained = iommu.why(f)));
      iommu.reportFault(fake, fault);
      if (isFast) space.sync(gather);
      return [removed, events, explained];
    });
    expect(traces[1]).toEqual(traces[0]);
    expect(traces[0]?.[2]).toMatchObject({ conclusion: 'unmapped-before' });
  });

  test('a domain and an address space are used alike', () => {
    const { space, iommu, n, reach } = start();
    const domain: IommuDomain = iommu.allocPagingDomain(n);
    iommu.attach(domain, n);
    const run = (mappings: Deferring & Pick<IoAddressSpace, 'map'>): unknown => {
      mappings.map(16 * M, 64 * M, 16 * K, READ_WRITE);
      const [first] = reach(16 * M).filter((address) => address !== undefined);
      const gather = new Gather();
      const removed = mappings.unmapFast(16 * M, 16 * K, gather, 'x');
      const stale = reach(16 * M).filter((address) => address !== undefined).length > 0;
      mappings.sync(gather);
      return [first, removed, stale, reach(16 * M)];
    };
    const expected = [64 * M, 16 * K, true, NOWHERE];
    expect([run(domain), run(space)]).toEqual([expected, expected]);
  });
});

describe('between the unmap and the sync', () => {
  /** 16 MiB is unmapped and in the TLBs; then something happens; then the sync. */
  function betweenAnd(happen: (made: ReturnType<typeof start>, gather: Gather) => void) {
    const made = start();
    made.space.map(16 * M, 64 * M, 16 * K, READ_WRITE);
    made.reach(16 * M);
    const gather = new Gather();
    made.space.unmapFast(16 * M, 16 * K, gather);
    happen(made, gather);
    made.space.sync(gather);
    expect(made.reach(16 * M)).toEqual(NOWHERE);
    expect([gather.isEmpty, made.park.waitingTables]).toEqual([true, 0]);
    return made;
  }

  test.each([
    ['the first', 'a'],
    ['the second', 'c'],
  ] as const)('a domain may go: %s', (_which, name) => {
    betweenAnd((made) => {
      made.space.detach(made[name]);
      expect(made.space.domains.length).toBe(1);
      // Whoever has left translates by something else: it has nothing stale, sync or no sync.
      expect(made.reach(16 * M).filter((address) => address !== undefined)).toEqual([64 * M]);
    });
  });

  test('all domains may go, and the address space with them', () => {
    betweenAnd(({ space, a, c, reach }) => {
      for (const each of [a, c]) space.detach(each);
      space.free();
      expect(reach(16 * M)).toEqual(NOWHERE);
    });
  });

  test('an IOMMU may go', () => {
    betweenAnd(({ iommu, reach }) => {
      iommu.removeInstance('odd');
      expect(reach(16 * M)[1]).toBeUndefined();
    });
  });

  test('a member may come, which never reaches what was unmapped', () => {
    const { n, space, reach } = betweenAnd(({ space, n, reach }) => {
      space.map(32 * M, M, 16 * K, READ_WRITE);
      space.attach(n);
      expect(reach(16 * M)).toEqual([64 * M, 64 * M, undefined]);
      expect(reach(32 * M)).toEqual([M, M, M]);
    });
    expect(space.members).toContain(n);
    expect(reach(32 * M)).toEqual([M, M, M]);
  });

  test('a member may fail to come', () => {
    betweenAnd(({ space, n, narrow, reach }) => {
      narrow.broken.add('c0');
      expect(codeOf(() => space.attach(n))).toBe('EIO');
      expect(reach(16 * M)).toEqual([64 * M, 64 * M, undefined]);
    });
  });

  test.each(['a first', 'c first'])('domains may change while the gather goes on: %s', (order) => {
    const { space, a, c, n, reach, park } = start();
    const [first, second] = order === 'a first' ? [a, c] : [c, a];
    space.detach(second);
    space.map(16 * M, 64 * M, 16 * K, READ_WRITE);
    space.map(32 * M, 64 * M, 16 * K, READ_WRITE);
    reach(16 * M);
    const gather = new Gather();
    space.unmapFast(16 * M, 16 * K, gather);
    space.detach(first);
    space.attach(second);
    space.attach(n);
    space.map(48 * M, 64 * M, 16 * K, READ_WRITE);
    for (const iova of [32 * M, 48 * M]) {
      reach(iova);
      space.unmapFast(iova, 16 * K, gather);
      expect(reach(iova).filter((address) => address !== undefined)).toEqual([64 * M, 64 * M]);
    }
    space.sync(gather);
    for (const iova of [16 * M, 32 * M, 48 * M]) expect(reach(iova)).toEqual(NOWHERE);
    expect([gather.isEmpty, park.waitingTables]).toEqual([true, 0]);
  });
});
