import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { IoAddressSpace, READ_WRITE } from '../src/index.ts';
import { bench, codeOf, device, endpoint, FakeIommu, K, M } from './fake-iommu.ts';
import { addIommu, expectSame } from './space-fixture.ts';

/** An address space with a member behind two kinds of IOMMU that have these page sizes. */
function over(first: readonly number[], second: readonly number[]) {
  const { iommu, world, fake } = bench({ capabilities: { pageSizes: first } });
  const other = addIommu(iommu, world, 'other', { tableKey: 'other', capabilities: { pageSizes: second } });
  const mixed = device('mixed', endpoint('c0', 0), endpoint('c0', 0, 'other'));
  iommu.configure(mixed);
  const space = iommu.createAddressSpace('guest');
  space.attach(mixed);
  return { space, fakes: [fake, other], iommu, mixed };
}

describe('the page sizes of an address space over kinds of IOMMU', () => {
  test.each([
    [[4 * K], [16 * K], [16 * K]],
    [
      [4 * K, 64 * K, M, 16 * M],
      [16 * K, M],
      [16 * K, M],
    ],
    [
      [4 * K, 64 * K, M, 16 * M],
      [4 * K, 64 * K],
      [4 * K, 64 * K],
    ],
  ])('%j and %j are %j, in either order', (first, second, both) => {
    expect(over(first, second).space.capabilities.pageSizes).toEqual(both);
    expect(over(second, first).space.capabilities.pageSizes).toEqual(both);
  });

  test('are what can be mapped: each of them, and nothing finer than the first', () => {
    const sizes = fc
      .uniqueArray(fc.integer({ min: 12, max: 24 }), { minLength: 1, maxLength: 4 })
      .map((bits) => bits.sort((a, b) => a - b).map((bit) => 2 ** bit));
    fc.assert(
      fc.property(sizes, sizes, (first, second) => {
        const { space, fakes } = over(first, second);
        const { pageSizes } = space.capabilities;
        expect(pageSizes).toEqual([...new Set(pageSizes)].sort((a, b) => a - b));
        expect(pageSizes[0]).toBe(Math.max(first[0] as number, second[0] as number));
        for (const size of pageSizes) {
          space.map(256 * M, 512 * M, size, READ_WRITE);
          expectSame(space, fakes);
          space.unmap(256 * M, size);
        }
        const half = (pageSizes[0] as number) / 2;
        expect(codeOf(() => space.map(256 * M, 512 * M, half, READ_WRITE))).toBe('EINVAL');
        expect(codeOf(() => space.map(256 * M + half, 512 * M, 2 * half, READ_WRITE))).toBe('EINVAL');
      }),
      { numRuns: 60 },
    );
  });
});

describe('IOMMUs of one table key', () => {
  /** The windows of two IOMMUs with the same tables. */
  function windows(first: readonly [number, number], second: readonly [number, number]) {
    const [a, b] = [first, second].map(([start, last]) => ({ aperture: { start, last } }));
    const made = bench({ capabilities: a ?? {} });
    const other = addIommu(made.iommu, made.world, 'other', { capabilities: b ?? {} });
    const both = device('both', endpoint('c0', 0), endpoint('c1', 1, 'other'));
    return { ...made, other, both };
  }

  test('with disjoint windows are not one kind: no domain spans them, an address space does', () => {
    const { iommu, both, fake, other } = windows([0, M - 1], [M, 2 * M - 1]);
    iommu.configure(both);
    expect(iommu.domainOf(both, 'c0')).not.toBe(iommu.domainOf(both, 'c1'));
    expect(iommu.dmaMappingsOf(both)).toBeInstanceOf(IoAddressSpace);
    expect(codeOf(() => iommu.allocPagingDomain(both))).toBe('EOPNOTSUPP');
    expect(codeOf(() => iommu.allocPagingDomainFor([fake, other]))).toBe('EOPNOTSUPP');
    expect([fake.tables.size, other.tables.size]).toEqual([1, 1]);
  });

  test('whose windows have one page in common are one kind', () => {
    const { iommu, both } = windows([0, M - 1], [M - 4 * K, 2 * M - 1]);
    iommu.configure(both);
    const mine = iommu.allocPagingDomain(both);
    expect(mine.capabilities.aperture).toEqual({ start: M - 4 * K, last: M - 1 });
    mine.map(M - 4 * K, M, 4 * K, READ_WRITE);
    iommu.attach(mine, both);
    expect(iommu.domainOf(both, 'c1')).toBe(mine);
  });
});

describe('an IOMMU that a listener will not have', () => {
  test('is gone again, with what address spaces had made for it, and can come later', () => {
    const { iommu, world } = bench();
    const space = iommu.createAddressSpace('vm', 'all');
    const late = device('late', endpoint('c0', 0, 'second'));
    const ends = [
      iommu.onInstanceRegistered(() => iommu.configure(late)),
      iommu.onInstanceRegistered(() => {
        throw new RangeError('not this one');
      }),
    ];
    const second = new FakeIommu(world, { provider: 'second', tableKey: 'second' });
    expect(() => iommu.registerInstance(second)).toThrow(RangeError);
    expect(iommu.instances.map((i) => i.provider)).toEqual(['fake']);
    expect([space.domains.length, second.targets.size]).toEqual([1, 0]);
    expect(() => iommu.registerInstance(second)).toThrow(RangeError);
    for (const end of ends) end();
    iommu.cleanup(late);
    iommu.registerInstance(second);
    iommu.configure(late);
    expect([iommu.instances.length, space.domains.length, second.tables.size]).toEqual([2, 2, 2]);
    expect(iommu.domainOf(late)).toBe(iommu.defaultDomainOf(late));
  });
});
