import { describe, expect, test } from '@jest/globals';
import { READ_ONLY } from '../../src/index.ts';
import {
  createLinux2010,
  ERRNO,
  IOMMU_CACHE,
  IOMMU_CAP_CACHE_COHERENCY,
  IOMMU_CAP_INTR_REMAP,
  IOMMU_READ,
  IOMMU_WRITE,
  KernelBug,
  type Linux2010,
  type Linux2010Options,
} from '../../src/linux-2010/index.ts';
import { bench, type Bench, device, endpoint, FakeIommu, K, M, rotator } from '../fake-iommu.ts';

const RW = IOMMU_READ | IOMMU_WRITE;

/** A core with one IOMMU, and the API of 2010 over it, its kind registered. */
function machine(options: Linux2010Options = {}): Bench & Linux2010 {
  const made = bench();
  const linux = createLinux2010(made.iommu, options);
  linux.register_iommu(made.fake);
  return { ...made, ...linux };
}

describe('register_iommu', () => {
  test('takes the machine; a second one is a BUG, be it of the same kind', () => {
    const { iommu, fake } = bench();
    const linux = createLinux2010(iommu);
    expect(linux.iommu_found()).toBe(false);
    expect(linux.iommu_domain_alloc()).toBeNull();
    linux.register_iommu(fake);
    expect(linux.iommu_found()).toBe(true);
    expect(() => linux.register_iommu(fake)).toThrow(KernelBug);
    expect(() => linux.register_iommu({ tableKey: 'other' })).toThrow(KernelBug);
    expect(linux.iommu_domain_alloc()).not.toBeNull();
  });
});

describe('iommu_domain_alloc and iommu_domain_free', () => {
  test('null without memory, or while no IOMMU of the kind has come', () => {
    const { world, iommu_domain_alloc } = machine();
    world.failpoints.failNth(1);
    expect(iommu_domain_alloc()).toBeNull();
    world.failpoints.reset();
    expect(iommu_domain_alloc()).not.toBeNull();

    const empty = bench();
    const linux = createLinux2010(empty.iommu);
    linux.register_iommu({ tableKey: 'comes later' });
    expect(linux.iommu_domain_alloc()).toBeNull();
    empty.iommu.registerInstance(new FakeIommu(empty.world, { provider: 'l', tableKey: 'comes later' }));
    expect(linux.iommu_domain_alloc()).not.toBeNull();
  });

  test('freeing the tables under a device is a BUG, and does not happen', () => {
    const made = machine();
    const rot = rotator(made);
    const d = made.iommu_domain_alloc()!;
    made.iommu_map(d, M, M, 0, RW);
    made.iommu_attach_device(d, rot);
    expect(() => made.iommu_domain_free(d)).toThrow(KernelBug);
    expect(made.iommu_iova_to_phys(d, M)).toBe(M);
    made.iommu_detach_device(d, rot);
    made.iommu_domain_free(d);
    expect(made.iommu_map(d, M, M, 0, RW)).toBe(-22);
  });
});

describe('iommu_attach_device and iommu_detach_device', () => {
  test('errors are negative numbers of Linux', () => {
    const made = machine();
    const rot = rotator(made);
    made.iommu.registerInstance(new FakeIommu(made.world, { provider: 'odd', tableKey: 'odd' }));
    const odd = device('odd', endpoint('c', 0, 'odd'));
    made.iommu.configure(odd);
    const d = made.iommu_domain_alloc()!;
    expect(made.iommu_attach_device(d, rot)).toBe(0);
    expect(made.iommu_attach_device(d, rot)).toBe(-16);
    expect(made.iommu_attach_device(d, odd)).toBe(-22);
    expect(made.iommu_attach_device(d, device('none'))).toBe(-19);
    expect(made.iommu.domainOf(rot)).toBe(d);
    made.iommu_detach_device(d, odd);
    made.iommu_detach_device(d, device('none'));
    made.iommu_detach_device(d, rot);
    expect(made.iommu.domainOf(rot)).toBe(made.iommu.defaultDomainOf(rot));
  });

  test('one domain serves devices behind every IOMMU of the kind', () => {
    const made = machine();
    const rot = rotator(made);
    made.iommu.registerInstance(new FakeIommu(made.world, { provider: 'second' }));
    const mdp = device('mdp', endpoint('mdp', 0, 'second'));
    made.iommu.configure(mdp);
    const d = made.iommu_domain_alloc()!;
    expect([made.iommu_attach_device(d, rot), made.iommu_attach_device(d, mdp)]).toEqual([0, 0]);
  });

  test('a context of the MSM driver is attached by itself', () => {
    const made = machine();
    const rot = rotator(made);
    const [src, dst] = [made.iommu_domain_alloc()!, made.iommu_domain_alloc()!];
    const [ctx_src, ctx_dst] = [made.msm_iommu_get_ctx('rot_src')!, made.msm_iommu_get_ctx('rot_dst')!];
    expect([ctx_src.name, ctx_src.provider, ctx_src.master]).toEqual(['rot_src', 'fake', rot]);
    expect(made.msm_iommu_get_ctx('rot')).toBeNull();
    expect(made.iommu_attach_device(src, ctx_src)).toBe(0);
    expect(made.iommu_attach_device(dst, ctx_dst)).toBe(0);
    expect(made.iommu_attach_device(dst, ctx_src)).toBe(-16);
    expect([made.iommu.domainOf(rot, 'rot_src'), made.iommu.domainOf(rot, 'rot_dst')]).toEqual([src, dst]);
    made.iommu_detach_device(src, ctx_src);
    expect(made.iommu.domainOf(rot, 'rot_dst')).toBe(dst);
    made.iommu_domain_free(src);
    made.iommu.cleanup(rot);
    expect(made.iommu_attach_device(dst, ctx_dst)).toBe(-19);
    made.iommu_detach_device(dst, ctx_dst);
    expect(made.msm_iommu_get_ctx('rot_src')).toBeNull();
  });

  test('contexts of one domain are detached one by one', () => {
    const made = machine();
    const rot = rotator(made);
    const d = made.iommu_domain_alloc()!;
    for (const name of ['rot_src', 'rot_dst']) {
      expect(made.iommu_attach_device(d, made.msm_iommu_get_ctx(name)!)).toBe(0);
    }
    made.iommu_detach_device(d, made.msm_iommu_get_ctx('rot_src')!);
    const domains = ['rot_src', 'rot_dst'].map((context) => made.iommu.domainOf(rot, context));
    expect(domains).toEqual([made.iommu.defaultDomainOf(rot), d]);
  });

  test('a context that its master has lost is left already', () => {
    const made = machine();
    const rot = rotator(made);
    const d = made.iommu_domain_alloc()!;
    const ctx = made.msm_iommu_get_ctx('rot_dst')!;
    made.iommu.cleanup(rot);
    rot.endpoints = rot.endpoints.slice(0, 1);
    made.iommu.configure(rot);
    expect(made.iommu_attach_device(d, ctx)).toBe(-19);
    made.iommu_detach_device(d, ctx);
    expect(made.iommu.domainOf(rot, 'rot_src')).toBe(made.iommu.defaultDomainOf(rot));
  });
});

describe('iommu_map', () => {
  test.each([
    [0, 4 * K],
    [4, 64 * K],
    [8, M],
    [12, 16 * M],
  ])('order %i is one page of %i bytes', (order, size) => {
    const made = machine();
    const d = made.iommu_domain_alloc()!;
    made.fake.calls.length = 0;
    expect(made.iommu_map(d, 2 * size, size, order, RW)).toBe(0);
    expect(made.fake.calls[0]).toMatch(`${size}x1`);
    expect(made.iommu_iova_to_phys(d, 3 * size - 1)).toBe(2 * size - 1);
  });

  test.each([
    ['iova', 0x1000, 0x1_0000],
    ['paddr', 0x1_0000, 0x1000],
    ['both', 0x800, 0x800],
  ])('%s not aligned to the size is a BUG, and nothing is mapped', (_what, iova, paddr) => {
    const made = machine();
    const d = made.iommu_domain_alloc()!;
    expect(() => made.iommu_map(d, iova, paddr, 4, RW)).toThrow(KernelBug);
    expect(d.mappings()).toEqual([]);
  });

  test('the core of today refuses what the drivers of 2010 overlooked', () => {
    const made = machine();
    const d = made.iommu_domain_alloc()!;
    expect(made.iommu_map(d, M, M, 0, IOMMU_READ)).toBe(0);
    expect(made.iommu_map(d, M, 2 * M, 0, RW)).toBe(-ERRNO.EEXIST);
    expect(made.iommu_map(d, 2 * M, M, 0, 0)).toBe(-ERRNO.EINVAL);
    expect(made.iommu_map(d, 2 ** 32, M, 0, RW)).toBe(-ERRNO.ERANGE);
    made.world.failpoints.failNth(1);
    expect(made.iommu_map(d, 2 * M, M, 0, RW)).toBe(-ERRNO.ENOMEM);
    expect(d.mappings().map((r) => [r.iova, r.protection])).toEqual([[M, READ_ONLY]]);
  });

  test('prot is what it says', () => {
    const made = machine();
    const d = made.iommu_domain_alloc()!;
    made.iommu_map(d, 0, 0, 0, RW | IOMMU_CACHE);
    expect(d.mappings()[0]?.protection).toEqual({ read: true, write: true, cacheable: true });
  });
});

describe('iommu_unmap', () => {
  test('gives the order it removed, larger than asked where a larger page goes whole', () => {
    const made = machine();
    const d = made.iommu_domain_alloc()!;
    made.iommu_map(d, 0, 0, 8, RW);
    made.iommu_map(d, M, M, 3, RW);
    expect(made.iommu_unmap(d, 0, 0)).toBe(8);
    expect(made.iommu_unmap(d, M, 0)).toBe(0);
    expect(made.iommu_unmap(d, M, 3)).toBe(3);
    expect(d.mappings()).toEqual([]);
  });

  test('skips holes, at whichever end', () => {
    const made = machine();
    const d = made.iommu_domain_alloc()!;
    for (const iova of [0x1000, 0x4000, 0x5000, 0x8000]) made.iommu_map(d, iova, iova, 0, RW);
    expect(made.iommu_unmap(d, 0, 3)).toBe(3);
    expect(d.mappings().map((r) => r.iova)).toEqual([0x8000]);
  });

  test('-ENODEV where nothing is mapped, -EINVAL inside a larger page, BUG when not aligned', () => {
    const made = machine();
    const d = made.iommu_domain_alloc()!;
    made.iommu_map(d, M, M, 8, RW);
    expect(made.iommu_unmap(d, 0, 4)).toBe(-19);
    expect(made.iommu_unmap(d, M + 0x1_0000, 4)).toBe(-22);
    expect(made.iommu_unmap(d, 2 ** 32, 0)).toBe(-34);
    expect(() => made.iommu_unmap(d, M + 0x1000, 4)).toThrow(KernelBug);
    expect(d.mappedBytes).toBe(M);
  });
});

test('iommu_iova_to_phys is 0 for nowhere, and for address 0', () => {
  const made = machine();
  const d = made.iommu_domain_alloc()!;
  made.iommu_map(d, M, 0, 0, RW);
  expect([made.iommu_iova_to_phys(d, M), made.iommu_iova_to_phys(d, 2 * M)]).toEqual([0, 0]);
  expect(made.iommu_iova_to_phys(d, M + 4)).toBe(4);
});

test('iommu_domain_has_cap is 0 unless the machine says otherwise', () => {
  const plain = machine();
  const coherent = machine({ hasCap: (_d, cap) => cap === IOMMU_CAP_CACHE_COHERENCY });
  const ask = ({ iommu_domain_alloc, iommu_domain_has_cap }: Linux2010) =>
    [IOMMU_CAP_CACHE_COHERENCY, IOMMU_CAP_INTR_REMAP].map((cap) =>
      iommu_domain_has_cap(iommu_domain_alloc()!, cap),
    );
  expect([ask(plain), ask(coherent)]).toEqual([
    [0, 0],
    [1, 0],
  ]);
});
