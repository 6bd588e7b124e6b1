import { describe, expect, test } from '@jest/globals';
import { type IommuDomain, READ_WRITE } from '../src/index.ts';
import { bench, codeOf, device, endpoint, FakeTable, K, M, rotator } from './fake-iommu.ts';
import { addIommu } from './space-fixture.ts';

/** A domain with a small page at 1 MiB, a large one at 2 MiB, a small one at 4 MiB; the device is attached. */
function start(isTracking = true) {
  const made = bench({ capabilities: { dirtyTracking: true, aperture: { start: M, last: 64 * M - 1 } } });
  const rot = rotator(made);
  const { iommu, fake } = made;
  const domain: IommuDomain = iommu.allocPagingDomain(rot, 'guest');
  iommu.attach(domain, rot);
  domain.map(M, M, 8 * K, READ_WRITE);
  domain.map(2 * M, 2 * M, M, READ_WRITE);
  domain.map(4 * M, 4 * M, 4 * K, READ_WRITE);
  const [target] = fake.targets.values();
  if (target?.kind !== 'paging' || !(target.table instanceof FakeTable)) throw new Error('no table');
  const { table } = target;
  if (isTracking) domain.setDirtyTracking(true);
  fake.calls.length = 0;
  return { ...made, rot, domain, table };
}

describe('dirty tracking', () => {
  test('tells which pages were written, ascending, as large as they are mapped', () => {
    const { domain, table, fake } = start();
    expect(domain.readDirty(0, 0)).toEqual([]);
    for (const iova of [4 * M, 2 * M + 5, 2 * M + 9]) table.write(iova);
    const pages = [
      { iova: 2 * M, sizeBytes: M },
      { iova: 4 * M, sizeBytes: 4 * K },
    ];
    expect([domain.readDirty(0, 0), domain.readDirty(0, 0)]).toEqual([pages, pages]);
    expect(fake.calls).toEqual([]);
  });

  test('begins with no page dirty, and what begins it is invalidated', () => {
    const { domain, table, fake } = start(false);
    table.write(M, true);
    domain.setDirtyTracking(true);
    expect(fake.calls).toEqual(['dirty tracking on', 'sync 0x00100000+4096']);
    expect(domain.readDirty(0, 0)).toEqual([]);
    table.write(M);
    // Being on already, it stays as it is.
    domain.setDirtyTracking(true);
    expect(domain.readDirty(0, 0)).toEqual([{ iova: M, sizeBytes: 4 * K }]);
  });

  test('clears what it reads, where it reads, and waits until the hardware has forgotten it', () => {
    const { domain, table, fake } = start();
    for (const iova of [M, M + 4 * K, 4 * M]) table.write(iova);
    expect(domain.readDirty(M + 4 * K, 4 * K, { clear: true })).toEqual([
      { iova: M + 4 * K, sizeBytes: 4 * K },
    ]);
    expect(fake.calls).toEqual(['sync 0x00101000+4096']);
    expect(domain.readDirty(0, 0, { clear: true }).map((p) => p.iova)).toEqual([M, 4 * M]);
    expect([domain.readDirty(0, 0), fake.calls.length]).toEqual([[], 2]);
    table.write(M);
    expect(domain.readDirty(0, 0).map((p) => p.iova)).toEqual([M]);
  });

  test('of what is unmapped ends with the mapping', () => {
    const { domain, table } = start();
    table.write(M);
    domain.unmap(M, 8 * K);
    domain.map(M, M, 8 * K, READ_WRITE);
    expect(domain.readDirty(0, 0)).toEqual([]);
  });

  test('can be turned off, and then nothing is read: EINVAL', () => {
    const { domain, table, fake } = start();
    table.write(M);
    domain.setDirtyTracking(false);
    domain.setDirtyTracking(false);
    expect(fake.calls).toEqual(['dirty tracking off']);
    expect(codeOf(() => domain.readDirty(0, 0))).toBe('EINVAL');
    table.write(2 * M);
    domain.setDirtyTracking(true);
    expect(domain.readDirty(0, 0)).toEqual([]);
  });

  test.each([
    ['EINVAL', M + 1, 4 * K],
    ['EINVAL', M, 5],
    ['EINVAL', M, -4 * K],
    ['ERANGE', 0, 4 * K],
    ['ERANGE', 64 * M - 4 * K, 8 * K],
  ])('refuses a range with %s: %p + %p', (code, iova, sizeBytes) => {
    const { domain, table } = start();
    table.write(M);
    expect(codeOf(() => domain.readDirty(iova, sizeBytes, { clear: true }))).toBe(code);
    expect(domain.readDirty(0, 0).length).toBe(1);
  });

  test('is for paging domains that are there, on hardware that can', () => {
    const { domain, iommu, rot } = start();
    for (const fixed of [iommu.blockedDomain, iommu.identityDomain]) {
      expect(codeOf(() => fixed.setDirtyTracking(true))).toBe('EINVAL');
    }
    iommu.detach(domain, rot);
    domain.free();
    expect([codeOf(() => domain.setDirtyTracking(false)), codeOf(() => domain.readDirty(0, 0))]).toEqual([
      'EINVAL',
      'EINVAL',
    ]);
    const plain = bench();
    const other = plain.iommu.allocPagingDomain(rotator(plain));
    expect(codeOf(() => other.setDirtyTracking(true))).toBe('EOPNOTSUPP');
    expect(codeOf(() => other.setDirtyTracking(false))).toBe('EOPNOTSUPP');
    expect(codeOf(() => other.readDirty(0, 0))).toBe('EOPNOTSUPP');
  });

  test('is kept: a device whose IOMMU would not note its writes cannot be attached', () => {
    const { domain, iommu, world, fake } = start();
    const forgetful = addIommu(iommu, world, 'forgetful', {
      capabilities: { ...fake.capabilities, dirtyTracking: false },
    });
    const other = device('other', endpoint('c0', 0, 'forgetful'));
    iommu.configure(other);
    expect(codeOf(() => iommu.attach(domain, other))).toBe('EINVAL');
    // The other way round nothing was promised; and an address space finds a domain for each.
    const plain = iommu.allocPagingDomain(other);
    expect(plain.capabilities.dirtyTracking).toBe(false);
    const space = iommu.createAddressSpace('guest');
    const third = device('third', endpoint('c8', 8));
    iommu.configure(third);
    space.attach(third);
    space.attach(other);
    expect(space.domains.map((d) => d.capabilities.dirtyTracking)).toEqual([true, false]);
    expect(forgetful.targets.size).toBe(1);
  });
});
