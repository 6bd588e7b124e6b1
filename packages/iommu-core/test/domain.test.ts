import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Gather, type IommuDomain, READ_ONLY, READ_WRITE, WRITE_ONLY } from '../src/index.ts';
import { bench, type Bench, codeOf, type FakeOptions, K, M, rotator } from './fake-iommu.ts';
import { mustEqual } from './must-equal.ts';

function withDomain(options: FakeOptions = {}): Bench & { readonly domain: IommuDomain } {
  const made = bench(options);
  return { ...made, domain: made.iommu.allocPagingDomain(rotator(made), 'd') };
}

describe('map', () => {
  test('refuses what cannot be, and nothing changes', () => {
    const { domain, fake } = withDomain({
      capabilities: { aperture: { start: M, last: 64 * M - 1 }, lastPhysAddr: 0x7fff_ffff },
    });
    domain.map(2 * M, 0x4000_0000, 8 * K, READ_WRITE, 'a');
    const before = [domain.mappings(), fake.state()];
    const calls = fake.calls.length;
    const refused = {
      unalignedIova: codeOf(() => domain.map(2 * M + 1, 0, 4 * K, READ_WRITE)),
      unalignedAddress: codeOf(() => domain.map(4 * M, 0x10, 4 * K, READ_WRITE)),
      unalignedSize: codeOf(() => domain.map(4 * M, 0, 100, READ_WRITE)),
      empty: codeOf(() => domain.map(4 * M, 0, 0, READ_WRITE)),
      notANumber: codeOf(() => domain.map(Number.NaN, 0, 4 * K, READ_WRITE)),
      below: codeOf(() => domain.map(0, 0, 4 * K, READ_WRITE)),
      above: codeOf(() => domain.map(64 * M - 4 * K, 0, 8 * K, READ_WRITE)),
      physical: codeOf(() => domain.map(4 * M, 0x7fff_f000, 8 * K, READ_WRITE)),
      noRights: codeOf(() => domain.map(4 * M, 0, 4 * K, { read: false, write: false })),
      overlap: codeOf(() => domain.map(2 * M - 4 * K, 0, 8 * K, READ_WRITE)),
      noExec: codeOf(() => domain.map(4 * M, 0, 4 * K, { ...READ_WRITE, noExec: true })),
      sgOverlap: codeOf(() =>
        domain.mapSg(
          2 * M - 4 * K,
          [
            { address: 0, length: 4 * K },
            { address: M, length: 4 * K },
          ],
          READ_WRITE,
        ),
      ),
      sgEmpty: codeOf(() => domain.mapSg(4 * M, [], READ_WRITE)),
    };
    expect(refused).toEqual({
      unalignedIova: 'EINVAL',
      unalignedAddress: 'EINVAL',
      unalignedSize: 'EINVAL',
      empty: 'EINVAL',
      notANumber: 'EINVAL',
      below: 'ERANGE',
      above: 'ERANGE',
      physical: 'ERANGE',
      noRights: 'EINVAL',
      overlap: 'EEXIST',
      noExec: 'EOPNOTSUPP',
      sgOverlap: 'EEXIST',
      sgEmpty: 'EINVAL',
    });
    expect([domain.mappings(), fake.state()]).toEqual(before);
    expect(fake.calls.length).toBe(calls);
  });

  test('reaches both ends of the aperture and of physical memory', () => {
    const { domain } = withDomain({
      capabilities: { aperture: { start: M, last: 2 * M - 1 }, lastPhysAddr: M - 1 },
    });
    domain.map(M, 0, 4 * K, READ_WRITE);
    domain.map(2 * M - 4 * K, M - 4 * K, 4 * K, READ_WRITE);
    expect(domain.iovaToPhys(2 * M - 1)).toBe(M - 1);
  });

  test('what a failed map had made is invalidated before the error is seen', () => {
    const { domain, fake, world } = withDomain();
    world.failpoints.failNth(2, 'fake.map');
    fake.calls.length = 0;
    expect(codeOf(() => domain.map(0xf_f000, 0xf_f000, M + 4 * K, READ_WRITE))).toBe('ENOMEM');
    expect(fake.calls).toEqual([
      'map 0x000ff000 0x000ff000 4096x1',
      'unmap 0x000ff000 4096x1',
      'sync 0x000ff000+4096',
    ]);
  });

  test('a right the hardware cannot withhold is refused, never silently granted', () => {
    const permissions = { readOnly: false, writeOnly: false, noExec: false, privileged: false };
    const { domain } = withDomain({ capabilities: { permissions } });
    expect(codeOf(() => domain.map(0, 0, 4 * K, READ_ONLY))).toBe('EOPNOTSUPP');
    expect(codeOf(() => domain.map(0, 0, 4 * K, { ...READ_WRITE, privileged: true }))).toBe('EOPNOTSUPP');
  });

  test('write-only becomes read-write where reads cannot be refused, and the record says so', () => {
    const { domain } = withDomain();
    domain.map(0, 0, 4 * K, WRITE_ONLY);
    expect(domain.mappings()[0]).toMatchObject({ protection: READ_WRITE, requested: WRITE_ONLY });
    const exact = withDomain({
      capabilities: { permissions: { readOnly: true, writeOnly: true, noExec: true, privileged: true } },
    });
    exact.domain.map(0, 0, 4 * K, WRITE_ONLY);
    expect(exact.domain.mappings()[0]?.protection).toEqual(WRITE_ONLY);
    expect(exact.domain.mappings()[0]).not.toHaveProperty('requested');
  });

  test('asks the table for runs of pages and syncs once', () => {
    const { domain, fake } = withDomain();
    fake.calls.length = 0;
    domain.map(0x000f_f000, 0x400f_f000, M + 8 * K, READ_WRITE);
    expect(fake.calls).toEqual([
      'map 0x000ff000 0x400ff000 4096x1',
      'map 0x00100000 0x40100000 1048576x1',
      'map 0x00200000 0x40200000 4096x1',
      `syncMap 0x000ff000 ${M + 8 * K}`,
    ]);
  });

  test('mapSg merges physically consecutive entries and syncs once', () => {
    const { domain, fake, events } = withDomain();
    fake.calls.length = 0;
    const entries = [
      { address: 0x4000_0000, length: 4 * K },
      { address: 0x4000_1000, length: 8 * K },
      { address: 0x5000_0000, length: 4 * K },
    ];
    expect(domain.mapSg(0x1000, entries, READ_ONLY, 'rot: source')).toBe(16 * K);
    expect(fake.calls).toEqual([
      'map 0x00001000 0x40000000 4096x3',
      'map 0x00004000 0x50000000 4096x1',
      `syncMap 0x00001000 ${16 * K}`,
    ]);
    expect(events.filter((e) => e.name === 'iommu:map').map((e) => e.fields)).toEqual([
      {
        domain: 'd',
        iova: '0x00001000',
        paddr: '0x40000000',
        size: 12 * K,
        prot: 'r-',
        by: 'rot: source',
      },
      { domain: 'd', iova: '0x00004000', paddr: '0x50000000', size: 4 * K, prot: 'r-', by: 'rot: source' },
    ]);
  });

  test('IOVA 0 and physical address 0 can be mapped and looked up', () => {
    const { domain } = withDomain();
    domain.map(0, 0, 4 * K, READ_WRITE);
    expect([domain.iovaToPhys(0), domain.iovaToPhys(0x1000)]).toEqual([0, undefined]);
  });
});

describe('unmap', () => {
  test('stops at the first hole and tells how far it came', () => {
    const { domain, events } = withDomain();
    domain.map(0, 0, 8 * K, READ_WRITE);
    domain.map(0x3000, 0, 4 * K, READ_WRITE);
    expect(domain.unmap(0, 16 * K, 'x')).toBe(8 * K);
    expect(domain.mappings().map((r) => r.iova)).toEqual([0x3000]);
    expect(domain.unmap(0, 4 * K)).toBe(0);
    expect(events.find((e) => e.name === 'iommu:unmap')?.fields).toEqual({
      domain: 'd',
      iova: '0x00000000',
      size: 16 * K,
      unmapped_size: 8 * K,
      by: 'x',
    });
  });

  test('takes a larger page whole when the range ends inside it, and refuses to start inside one', () => {
    const { domain } = withDomain();
    domain.map(M, M, 2 * M, READ_WRITE);
    expect(codeOf(() => domain.unmap(M + 4 * K, 4 * K))).toBe('EINVAL');
    expect(domain.mappedBytes).toBe(2 * M);
    expect(domain.unmap(M, 4 * K)).toBe(M);
    expect(domain.mappings().map((r) => [r.iova, r.sizeBytes])).toEqual([[2 * M, M]]);
  });

  test('syncs once, and not at all when nothing was there', () => {
    const { domain, fake } = withDomain();
    domain.map(0xf_f000, 0xf_f000, M + 4 * K, READ_WRITE);
    fake.calls.length = 0;
    domain.unmap(0xf_f000, M + 4 * K);
    domain.unmap(0, 4 * K);
    expect(fake.calls.filter((c) => c.startsWith('sync'))).toEqual([
      'sync 0x000ff000+4096 0x00100000+1048576',
    ]);
  });

  test('unmapFast leaves the invalidation to the caller', () => {
    const { domain, fake } = withDomain();
    domain.map(0, 0, 8 * K, READ_WRITE);
    fake.calls.length = 0;
    const gather = new Gather();
    domain.unmapFast(0, 4 * K, gather);
    domain.unmapFast(4 * K, 4 * K, gather);
    expect(fake.calls.some((c) => c.startsWith('sync'))).toBe(false);
    domain.sync(gather);
    expect(fake.calls.at(-1)).toBe(`sync 0x00000000+${8 * K}`);
    expect(gather.isEmpty).toBe(true);
  });
});

describe('a domain', () => {
  test('static domains have no mappings; identity leads every address to itself', () => {
    const { iommu } = withDomain();
    for (const domain of [iommu.identityDomain, iommu.blockedDomain]) {
      expect(codeOf(() => domain.map(0, 0, 4 * K, READ_WRITE))).toBe('EINVAL');
      expect(codeOf(() => domain.unmap(0, 4 * K))).toBe('EINVAL');
      expect(codeOf(() => domain.setFaultHandler(() => 'retry'))).toBe('EINVAL');
      domain.free();
    }
    expect([iommu.identityDomain.iovaToPhys(77), iommu.blockedDomain.iovaToPhys(77)]).toEqual([
      77,
      undefined,
    ]);
  });

  test('is not freed while a device or a group uses it, and is of no use afterwards', () => {
    const made = bench();
    const rot = rotator(made);
    const { iommu, fake } = made;
    const domain = iommu.allocPagingDomain(rot);
    iommu.attach(domain, rot);
    expect(codeOf(() => domain.free())).toBe('EBUSY');
    expect(codeOf(() => iommu.defaultDomainOf(rot)?.free())).toBe('EBUSY');
    iommu.detach(domain, rot);
    domain.map(0, 0, 4 * K, READ_WRITE);
    domain.free();
    domain.free();
    expect(fake.tables.size).toBe(1);
    expect(domain.mappings()).toEqual([]);
    expect([domain.tableBytes, domain.iovaToPhys(0)]).toEqual([0, undefined]);
    expect(codeOf(() => domain.map(0, 0, 4 * K, READ_WRITE))).toBe('EINVAL');
    expect(codeOf(() => iommu.attach(domain, rot))).toBe('EINVAL');
  });

  test('agrees with a map of pages over random maps and unmaps', () => {
    const unit = 4 * K;
    const place = fc.oneof(
      fc.integer({ min: 0, max: 40 }),
      fc.integer({ min: 0, max: 12 }).map((n) => n * 16),
      fc.integer({ min: 250, max: 530 }),
    );
    const command = fc.record({
      isMap: fc.boolean(),
      start: place,
      pages: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constantFrom(16, 48, 256, 272)),
      address: fc.oneof(place, fc.constant('same' as const), fc.constant('same' as const)),
    });
    const outcomes = new Map<string, number>();
    fc.assert(
      fc.property(fc.array(command, { minLength: 5, maxLength: 25, size: 'max' }), (commands) => {
        const { domain } = withDomain();
        /** Page number to physical page, and the page where its leaf starts and ends. */
        const pages = new Map<number, number>();
        for (const { isMap, start, pages: count, address } of commands) {
          const target = address === 'same' ? start : address;
          const range = Array.from({ length: count }, (_, i) => start + i);
          if (isMap) {
            const isTaken = range.some((p) => pages.has(p));
            const code = codeOf(() => domain.map(start * unit, target * unit, count * unit, READ_WRITE));
            mustEqual(code, isTaken ? 'EEXIST' : undefined);
            if (!isTaken) range.forEach((p, i) => pages.set(p, target + i));
            outcomes.set(`map ${code ?? 'done'}`, (outcomes.get(`map ${code ?? 'done'}`) ?? 0) + 1);
          } else {
            let removed: number | undefined;
            const code = codeOf(() => (removed = domain.unmap(start * unit, count * unit)));
            const hole = range.find((p) => !pages.has(p)) ?? start + count;
            const what =
              code ??
              (removed === (hole - start) * unit ? (hole === start + count ? 'all' : 'to hole') : 'more');
            outcomes.set(`unmap ${what}`, (outcomes.get(`unmap ${what}`) ?? 0) + 1);
            if (removed === undefined) continue;
            mustEqual(removed >= (hole - start) * unit, true);
            for (let p = start; p < start + removed / unit; p++) mustEqual(pages.delete(p), true);
          }
          for (const probe of [start, start + count - 1, start + count]) {
            const page = pages.get(probe);
            const leads = domain.iovaToPhys(probe * unit + 8);
            expect(leads).toBe(page === undefined ? undefined : page * unit + 8);
          }
          expect(domain.mappedBytes).toBe(pages.size * unit);
        }
        const wrong = [...pages].filter(([p, target]) => domain.iovaToPhys(p * unit) !== target * unit);
        expect(wrong).toEqual([]);
      }),
      { numRuns: 150 },
    );
    // A suite in which nearly everything is refused proves little.
    for (const what of [
      'map done',
      'map EEXIST',
      'unmap all',
      'unmap to hole',
      'unmap more',
      'unmap EINVAL',
    ]) {
      expect([what, (outcomes.get(what) ?? 0) > 2]).toEqual([what, true]);
    }
  });
});
