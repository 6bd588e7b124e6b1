import { describe, expect, test } from '@jest/globals';
import { READ_WRITE } from '../../src/index.ts';
import { createLinux2010 } from '../../src/linux-2010/index.ts';
import { bench, type Bench, type FakeTable, K, M, rotator } from '../fake-iommu.ts';
import { mustEqual } from '../must-equal.ts';
import { Kvm, type MemorySlot } from './kvm-2-6-35.ts';

// Memory below the legacy hole with large pages behind it, the rest from an odd frame on.
const SLOTS: readonly MemorySlot[] = [
  { base_gfn: 0, npages: 0xa0, base_pfn: 0x4_0100, host_page_size: 64 * K },
  { base_gfn: 0x100, npages: 0x315, base_pfn: 0x5_0000, host_page_size: M },
  { base_gfn: 0x800, npages: 9, base_pfn: 0x6_0003, host_page_size: M },
];
const FRAMES = SLOTS.reduce((sum, slot) => sum + slot.npages, 0);

function guest(): Bench & { readonly kvm: Kvm } {
  const made = bench();
  const linux = createLinux2010(made.iommu);
  linux.register_iommu(made.fake);
  return { ...made, kvm: new Kvm(linux, SLOTS) };
}

/** What a device of that guest sees, by the hardware's own tables. */
function leavesOf(tables: Iterable<FakeTable>): readonly unknown[] {
  return [...tables].flatMap((t) => [...t.leaves.values()]).sort((a, b) => a.iova - b.iova);
}

describe('KVM of 2.6.35, line by line on the API of its time', () => {
  test('maps what the API of today maps, in the same pages', () => {
    const then = guest();
    expect(then.kvm.map_guest()).toBe(0);

    const now = bench();
    const rot = rotator(now);
    const before = now.fake.tables.size;
    const domain = now.iommu.allocPagingDomain(rot);
    for (const slot of SLOTS) {
      domain.map(slot.base_gfn * 4 * K, slot.base_pfn * 4 * K, slot.npages * 4 * K, READ_WRITE);
    }
    expect(leavesOf(then.fake.tables)).toEqual(leavesOf([...now.fake.tables].slice(before)));
    expect(then.kvm.pins.size).toBe(FRAMES);
  });

  test('a device that is assigned later uses it; the end of the guest leaves nothing', () => {
    const made = guest();
    const rot = rotator(made);
    const before = made.fake.state();
    expect(made.kvm.assign_device(rot)).toBe(-19);
    made.kvm.map_guest();
    expect(made.kvm.assign_device(rot)).toBe(0);
    const target = made.fake.targets.get('rot_src:4');
    expect(target?.kind === 'paging' && target.table.iovaToPhys(0x10_0123)).toBe(0x5000_0123);
    made.kvm.deassign_device(rot);
    made.kvm.unmap_guest();
    expect(made.fake.state()).toEqual(before);
    expect(made.kvm.pins.size).toBe(0);
  });

  test('pages go back in the order they were mapped in, though only single pages are asked for', () => {
    const made = guest();
    made.kvm.map_guest();
    made.fake.calls.length = 0;
    made.kvm.unmap_guest();
    const unmaps = made.fake.calls.filter((call) => call.startsWith('unmap'));
    expect(unmaps).toHaveLength(leavesOf(guestTables()).length);
    expect(unmaps.length).toBeLessThan(FRAMES / 10);

    function guestTables(): Iterable<FakeTable> {
      const other = guest();
      other.kvm.map_guest();
      return other.fake.tables;
    }
  });

  test('the nth failure gives back every page and the domain', () => {
    let n = 1;
    for (; ; n++) {
      const made = guest();
      made.world.failpoints.failNth(n);
      const r = made.kvm.map_guest();
      if (!made.world.failpoints.hasFired) break;
      mustEqual([n, r, made.kvm.pins.size, made.fake.tables.size, made.kvm.domain], [n, -12, 0, 0, null]);
    }
    expect(n).toBeGreaterThan(50);
  });

  test('without an IOMMU it says so', () => {
    const { iommu } = bench();
    expect(new Kvm(createLinux2010(iommu), SLOTS).map_guest()).toBe(-19);
  });
});
