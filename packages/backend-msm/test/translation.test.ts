import { describe, expect, test } from '@jest/globals';
import { Gather, READ_ONLY, READ_WRITE, WRITE_ONLY } from '@iommu-lab/iommu-core';
import { iova } from '@iommu-lab/machine';
import { BFBCR, contextOffset } from '@iommu-lab/smmu-hw/regs';
import { PAGE_A, PAGE_B, System } from './fixture.ts';

describe('map and unmap, seen by a device', () => {
  test('a mapped page is reached in every size the hardware has (R63)', () => {
    const system = new System();
    const domain = system.attached(system.devices.src, 'd');
    expect(domain.capabilities.pageSizes).toEqual([0x1000, 0x10000, 0x100000, 0x1000000]);
    for (const [at, size] of [
      [0x1000, 0x1000],
      [0x10000, 0x10000],
      [0x100000, 0x100000],
      [0x1000000, 0x1000000],
    ] as const) {
      const target = size === 0x1000 ? PAGE_A : 0x40000000;
      system.fill(target + 0x120, size);
      domain.map(at, target, size, READ_WRITE);
      expect(system.dmaRead(system.rot, 0, at + 0x120)).toBe(size);
      expect(system.rot.probeTlb(0, iova(at + 0x120))).toMatchObject({ sizeBytes: size });
      expect(domain.iovaToPhys(at + 0x120)).toBe(target + 0x120);
    }
  });

  test('after an unmap the next access faults, whatever the page size: TLB and tables both forgot', () => {
    for (const size of [0x1000, 0x10000, 0x100000, 0x1000000]) {
      const system = new System({ config: { stallFaults: false } });
      const domain = system.attached(system.devices.src, 'd');
      domain.map(0x1000000, 0x40000000, size, READ_WRITE);
      expect(system.dmaRead(system.rot, 0, 0x1000004)).toBe(0);
      expect(domain.unmap(0x1000000, size)).toBe(size);
      expect(system.dmaRead(system.rot, 0, 0x1000004)).toBe('faulted');
    }
  });

  test('an unmap of more pages than are worth single invalidations drops the address space, and only that', () => {
    const system = new System({ config: { stallFaults: false, maxPageInvalidations: 2 } });
    const { src, dst } = system.devices;
    const domain = system.attached(src, 'd');
    system.mapped(dst, 'other', 0x1000, PAGE_B);
    domain.map(0x11000, PAGE_A, 0x4000, READ_WRITE);
    for (const at of [0x11000, 0x12000, 0x13000, 0x14000]) system.dmaRead(system.rot, 0, at);
    system.dmaRead(system.rot, 1, 0x1000);
    domain.unmap(0x11000, 0x4000);
    for (const at of [0x11000, 0x12000, 0x13000, 0x14000]) {
      expect(system.dmaRead(system.rot, 0, at)).toBe('faulted');
    }
    expect(system.rot.probeTlb(1, iova(0x1000))).toBeDefined();
  });

  test('until sync the device may go on using what was unmapped; table memory is freed after it', () => {
    const system = new System({ config: { stallFaults: false } });
    const domain = system.mapped(system.devices.src, 'd', 0x1000, PAGE_A);
    const full = system.tables.allocatedBytes;
    system.dmaRead(system.rot, 0, 0x1000);
    const gather = new Gather();
    domain.unmapFast(0x1000, 0x1000, gather);
    expect(system.dmaRead(system.rot, 0, 0x1000)).toBe(0);
    expect(system.tables.allocatedBytes).toBe(full);
    domain.sync(gather);
    expect(system.dmaRead(system.rot, 0, 0x1000)).toBe('faulted');
    expect(system.tables.allocatedBytes).toBe(full - 1024);
  });

  test('read-only refuses writes; write-only, which the format cannot say, also reads', () => {
    const system = new System({ config: { stallFaults: false } });
    const domain = system.attached(system.devices.src, 'd');
    domain.map(0x1000, PAGE_A, 0x1000, READ_ONLY);
    domain.map(0x2000, PAGE_B, 0x1000, WRITE_ONLY);
    expect(system.dmaRead(system.rot, 0, 0x1000)).toBe(0);
    expect(system.dmaWrite(system.rot, 0, 0x1000, 1)).toBe('faulted');
    expect(system.dmaWrite(system.rot, 0, 0x2000, 7)).toBe('done');
    expect(system.dmaRead(system.rot, 0, 0x2000)).toBe(7);
  });

  test('tables that are not cleaned stay unseen by a walk that does not snoop, and are seen by one that does (R54)', () => {
    const forgetful = new System({ forgetsClean: true, config: { stallFaults: false } });
    forgetful.mapped(forgetful.devices.src, 'd', 0x1000, PAGE_A);
    expect(forgetful.dmaRead(forgetful.rot, 0, 0x1000)).toBe('faulted');
    const coherent = new System({ config: { coherentWalk: true, stallFaults: false } });
    coherent.mapped(coherent.devices.src, 'd', 0x1000, PAGE_A);
    expect(coherent.dmaRead(coherent.rot, 0, 0x1000)).toBe(0);
  });

  test('an explanation reads the tables as the walker would', () => {
    const forgetful = new System({ forgetsClean: true });
    forgetful.mapped(forgetful.devices.src, 'd', 0x1000, PAGE_A);
    forgetful.dmaRead(forgetful.rot, 0, 0x1000);
    forgetful.world.clock.run();
    const meanings = forgetful.iommu.faults.map((fault) => forgetful.iommu.why(fault).walk.at(-1)?.meaning);
    expect(meanings).toEqual([expect.stringMatching(/invalid/)]);
  });

  test('with invalidateOnMap a map is followed by invalidations as well', () => {
    const system = new System({ config: { invalidateOnMap: true } });
    const domain = system.attached(system.devices.src, 'd');
    const before = system.rot.statistics.invalidations;
    domain.map(0x1000, PAGE_A, 0x2000, READ_WRITE);
    expect(system.rot.statistics.invalidations - before).toBe(2);
  });
});

describe('descriptors that a walk fetches ahead (R26)', () => {
  test.each([
    [1, false],
    [4, false],
    [1, true],
    [4, true],
  ])('hide no new page: %i blocks, invalidateOnMap %s', (fetchBlocks, invalidateOnMap) => {
    const system = new System({ fetchBlocks, config: { invalidateOnMap, stallFaults: false } });
    const domain = system.mapped(system.devices.src, 'd', 0x10000, PAGE_A);
    system.fill(PAGE_B, 0xb);
    expect(system.dmaRead(system.rot, 0, 0x10000)).toBe(0);
    domain.map(0x11000, PAGE_B, 0x1000, READ_WRITE);
    expect(system.dmaRead(system.rot, 0, 0x11000)).toBe(0xb);
    domain.unmap(0x11000, 0x1000);
    expect(system.dmaRead(system.rot, 0, 0x11000)).toBe('faulted');
    expect(system.rot.read32(contextOffset(0, BFBCR))).toBe(invalidateOnMap ? 1 : 0);
  });
});

describe('one domain on several instances', () => {
  test('is one table: a map serves both, an unmap reaches both TLBs (R58)', () => {
    const system = new System({ config: { stallFaults: false } });
    const { src, vg } = system.devices;
    const domain = system.mapped(src, 'shared', 0x1000, PAGE_A);
    system.iommu.attach(domain, vg);
    system.fill(PAGE_A, 0xa);
    expect(system.dmaRead(system.rot, 0, 0x1000)).toBe(0xa);
    expect(system.dmaRead(system.mdp0, 2, 0x1000)).toBe(0xa);
    domain.unmap(0x1000, 0x1000);
    expect(system.dmaRead(system.rot, 0, 0x1000)).toBe('faulted');
    expect(system.dmaRead(system.mdp0, 2, 0x1000)).toBe('faulted');
  });
});

describe('one domain on two banks of one instance', () => {
  test('is invalidated once: the banks share the TLB, and the entries by their ASID (R27)', () => {
    const system = new System({ config: { stallFaults: false, maxPageInvalidations: 3 } });
    const { src, dst, vg } = system.devices;
    const domain = system.attached(src, 'shared');
    system.iommu.attach(domain, dst);
    system.iommu.attach(domain, vg);
    for (const sizeBytes of [0x3000, 0x4000]) {
      domain.map(0x11000, PAGE_A, sizeBytes, READ_WRITE);
      const read = (): unknown[] =>
        [0, 0x1000, 0x2000].flatMap((offset) => [
          system.dmaRead(system.rot, offset === 0 ? 0 : 1, 0x11000 + offset),
          system.dmaRead(system.mdp0, 2, 0x11000 + offset),
        ]);
      expect(read()).not.toContain('faulted');
      const counts = (): number[] => [system.rot, system.mdp0].map((smmu) => smmu.statistics.invalidations);
      const before = counts();
      domain.unmap(0x11000, sizeBytes);
      const writes = sizeBytes === 0x3000 ? 3 : 1;
      expect(counts().map((count, index) => count - (before[index] ?? 0))).toEqual([writes, writes]);
      expect(new Set(read())).toEqual(new Set(['faulted']));
    }
  });

  test('goes on being invalidated when the bank that joined first has left', () => {
    const system = new System({ config: { stallFaults: false } });
    const { src, dst } = system.devices;
    const domain = system.mapped(src, 'shared', 0x11000, PAGE_A);
    system.iommu.attach(domain, dst);
    system.dmaRead(system.rot, 0, 0x11000);
    system.iommu.detach(domain, src);
    expect(system.dmaRead(system.rot, 1, 0x11000)).toBe(0);
    domain.unmap(0x11000, 0x1000);
    expect(system.dmaRead(system.rot, 1, 0x11000)).toBe('faulted');
  });
});

describe('streams', () => {
  test('are blocked from probe on, pass untranslated under identity, and are blocked again when the device leaves', () => {
    const system = new System({ config: { stallFaults: false } });
    const { src } = system.devices;
    system.fill(PAGE_A, 0x5a);
    expect(system.dmaRead(system.rot, 0, PAGE_A)).toBe('faulted');
    const identity = system.iommu.identityDomain;
    system.iommu.attach(identity, src);
    expect(system.dmaRead(system.rot, 0, PAGE_A)).toBe(0x5a);
    system.bus.unbind(src);
    expect(system.dmaRead(system.rot, 0, PAGE_A)).toBe('faulted');
  });

  test('that no context claims reach nothing: a global error, not the table of bank 0', () => {
    const system = new System();
    system.mapped(system.devices.src, 'd', 0x1000, PAGE_A);
    expect(system.dmaRead(system.rot, 9, 0x1000)).toBe('faulted');
    const open = new System({ config: { fenceStreams: false } });
    open.mapped(open.devices.src, 'd', 0x1000, PAGE_A);
    expect(open.dmaRead(open.rot, 9, 0x1000)).toBe(0);
  });

  test('of a context the device is not wired to are refused (ENODEV)', () => {
    const system = new System();
    const instance = system.driver.instances[0];
    const { src } = system.devices;
    const probe = (context: string, streamIds: number[]) => () =>
      instance?.probeEndpoint(src, { provider: 'rot', context, streamIds });
    expect(probe('rot_src', [0])()).toBe('bank 0');
    expect(probe('rot_src', [1])).toThrow(expect.objectContaining({ code: 'ENODEV' }));
    expect(probe('nowhere', [0])).toThrow(expect.objectContaining({ code: 'ENODEV' }));
  });
});
