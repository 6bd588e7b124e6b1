/**
 * One set of mappings for devices behind any IOMMUs: the same through all of them, whatever fails in between. Long because
 * every rule of joining and leaving is a check of its own, on one bench.
 */
import { Device } from '@iommu-lab/driver-core';
import { type IoAddressSpace, READ_ONLY, READ_WRITE } from '@iommu-lab/iommu-core';
import type { Bench } from '../bench.ts';
import { type Check, defineAspect } from '../check.ts';
import { demandCode, demandEqual } from '../demand.ts';
import { plainMappings } from '../fail-steps.ts';
import { foreignInstance, foreignSide } from '../foreign-side.ts';

export const addressSpace: readonly Check[] = defineAspect('address-space', {
  'devices whose IOMMUs take each other’s tables share one domain, others have one each'(bench) {
    const { iommu, first, second, granule } = bench;
    const page = bench.page();
    const space = iommu.createAddressSpace('shared');
    demandEqual(space.domains.length, 0, 'domains without members');
    for (const side of bench.sides) space.attach(side.device);
    const isOne = bench.instanceOf(first).tableKey === bench.instanceOf(second).tableKey;
    demandEqual(space.domains.length, isOne ? 1 : 2, 'domains of two members');
    demandEqual(
      space.members.map((d) => d.name).sort(),
      bench.sides.map((s) => s.device.name).sort(),
      'members',
    );
    space.map(bench.iova(0), page, granule, READ_WRITE);
    for (const side of bench.sides) {
      bench.demandReads(side, bench.iova(0), page);
      bench.demandWrites(side, bench.iova(0), page);
    }
    demandEqual(space.unmap(bench.iova(0), granule), granule, 'bytes removed');
    for (const side of bench.sides) bench.demandNoAccess(side, bench.iova(0), 'unmapped for both', page);
  },

  'a device behind another kind of IOMMU gets a domain with every mapping in it'(bench) {
    const { granule, first } = bench;
    const pages = bench.scatteredPages(4);
    const page = bench.page();
    const space = bench.iommu.createAddressSpace('two kinds');
    space.attach(first.device);
    space.map(bench.iova(0), page, granule, readOnlyOf(bench));
    space.mapSg(
      bench.iova(4),
      pages.map((address) => ({ address, length: granule })),
      READ_WRITE,
    );
    const foreign = foreignSide(bench);
    space.attach(foreign.device);
    demandEqual(space.domains.length, 2, 'domains');
    demandSame(space);
    for (const side of [first, foreign]) {
      bench.demandReads(side, bench.iova(0), page);
      if (bench.capabilities.permissions.readOnly) {
        bench.demandWriteFaults(side, bench.iova(0), 'read-only', page);
      }
      pages.forEach((address, i) => bench.demandReads(side, bench.iova(4 + i), address));
      bench.demandNoAccess(side, bench.iova(1), 'never mapped');
    }
    space.map(bench.iova(9), page, granule, READ_WRITE);
    for (const side of [first, foreign]) bench.demandWrites(side, bench.iova(9), page);
    demandEqual(space.unmap(bench.iova(4), 4 * granule), 4 * granule, 'bytes removed');
    for (const side of [first, foreign]) {
      pages.forEach((address, i) => bench.demandNoAccess(side, bench.iova(4 + i), 'unmapped', address));
    }
    demandSame(space);
  },

  'a map that one IOMMU refuses is in none'(bench) {
    const { granule, first, capabilities } = bench;
    const page = bench.page(2 * granule);
    const space = bench.iommu.createAddressSpace('refused');
    const foreign = foreignSide(bench);
    // The foreign one is first, so that what it has mapped must go again.
    for (const side of [foreign, first]) space.attach(side.device);
    space.map(bench.iova(0), page, granule, READ_WRITE);
    const tables = [bench.fixture.allocatedTableBytes(), foreign.instance.allocatedBytes];
    const refuse =
      (iova: number, address: number, sizeBytes: number, rights = READ_WRITE) =>
      () =>
        space.map(iova, address, sizeBytes, rights);
    demandCode('EINVAL', 'half a granule', refuse(bench.iova(2), page, granule / 2));
    demandCode('ERANGE', 'behind the aperture', refuse(capabilities.aperture.last + 1, page, granule));
    demandCode('ERANGE', 'beyond the memory', refuse(bench.iova(2), capabilities.lastPhysAddr + 1, granule));
    demandCode('EINVAL', 'no rights', refuse(bench.iova(2), page, granule, { read: false, write: false }));
    if (!capabilities.permissions.noExec) {
      const rights = { read: true, write: true, noExec: true };
      demandCode('EOPNOTSUPP', 'a right it has not', refuse(bench.iova(2), page, granule, rights));
    }
    demandEqual(
      [bench.fixture.allocatedTableBytes(), foreign.instance.allocatedBytes],
      tables,
      'table memory after refusals',
    );
    demandSame(space);
    for (const side of [first, foreign]) {
      bench.demandReads(side, bench.iova(0), page);
      bench.demandNoAccess(side, bench.iova(2), 'refused', page);
    }
  },

  'who cannot have all the mappings does not join, and nothing changes'(bench) {
    const { granule, first, iommu } = bench;
    const page = bench.page(2 * granule, granule) + granule;
    const space = iommu.createAddressSpace('picky');
    space.attach(first.device);
    space.map(bench.iova(0), page - granule, granule, READ_WRITE);
    space.map(bench.iova(1), page, granule, READ_WRITE);
    const tables = bench.fixture.allocatedTableBytes();
    const end = bench.iova(1) - 1;
    const joiners = [
      ['coarse', 'EINVAL', { pageSizes: [2 * granule] }],
      ['small', 'ERANGE', { aperture: { start: 0, last: end } }],
      ['low', 'ERANGE', { lastPhysAddr: page - 1 }],
    ] as const;
    for (const [name, code, differences] of joiners) {
      const foreign = foreignSide(bench, differences, name);
      const before = [foreign.instance.allocatedBytes, iommu.domainOf(foreign.device)?.name];
      demandCode(code, `joining behind the IOMMU "${name}"`, () => space.attach(foreign.device));
      const after = [foreign.instance.allocatedBytes, iommu.domainOf(foreign.device)?.name];
      demandEqual(after, before, `tables and domain behind "${name}"`);
      demandEqual(space.domains.length, 1, 'domains');
      bench.demandNoAccess(foreign, bench.iova(0), 'no member', page - granule);
    }
    demandEqual(bench.fixture.allocatedTableBytes(), tables, 'table memory');
    demandEqual(
      space.members.map((d) => d.name),
      [first.device.name],
      'members',
    );
    bench.demandReads(first, bench.iova(1), page);
    demandSame(space);
  },

  'the last member takes its domain along, and the mappings stay'(bench) {
    const { granule, first, second, iommu } = bench;
    const page = bench.page();
    const tables = bench.fixture.allocatedTableBytes();
    const space = iommu.createAddressSpace('coming and going');
    const foreign = foreignSide(bench);
    const foreignTables = foreign.instance.allocatedBytes;
    for (const side of [first, second, foreign]) space.attach(side.device);
    space.map(bench.iova(0), page, granule, READ_WRITE);
    for (const side of [first, second, foreign]) bench.demandReads(side, bench.iova(0), page);
    space.detach(first.device);
    bench.demandNoAccess(first, bench.iova(0), 'no member any more', page);
    bench.demandReads(second, bench.iova(0), page);
    space.detach(foreign.device);
    demandEqual(foreign.instance.allocatedBytes, foreignTables, 'tables of the IOMMU without members');
    iommu.cleanup(second.device);
    demandEqual(space.domains.length, 0, 'domains');
    demandEqual(space.mappedBytes, granule, 'bytes mapped');
    demandEqual(space.iovaToPhys(bench.iova(0) + 5), page + 5, 'where it leads');
    iommu.configure(second.device);
    demandEqual(bench.fixture.allocatedTableBytes(), tables, 'table memory');
    space.attach(first.device);
    bench.demandReads(first, bench.iova(0), page);
    space.detach(first.device);
    space.detach(first.device);
    space.free();
    demandEqual(bench.fixture.allocatedTableBytes(), tables, 'table memory at the end');
  },

  'what nobody has looked at yet is checked when a member comes'(bench) {
    const { granule, first, iommu } = bench;
    const space = iommu.createAddressSpace('early');
    const page = bench.page();
    space.map(bench.iova(0), page, granule, READ_WRITE);
    space.map(bench.iova(2) + granule / 2, page, granule / 2, READ_WRITE);
    const tables = bench.fixture.allocatedTableBytes();
    demandCode('EINVAL', 'joining with half a granule mapped', () => space.attach(first.device));
    demandEqual(bench.fixture.allocatedTableBytes(), tables, 'table memory');
    demandEqual(space.members.length, 0, 'members');
    bench.demandNoAccess(first, bench.iova(0), 'no member', page);
    demandEqual(space.unmap(bench.iova(2), granule), granule / 2, 'bytes removed');
    space.attach(first.device);
    bench.demandReads(first, bench.iova(0), page);
  },

  'mappings go whole: a range that cuts one is refused, one around several takes them'(bench) {
    const { granule, first } = bench;
    const block = bench.page(8 * granule);
    const space = bench.iommu.createAddressSpace('whole');
    const foreign = foreignSide(bench);
    for (const side of [first, foreign]) space.attach(side.device);
    space.map(bench.iova(2), block, 3 * granule, READ_WRITE);
    space.map(bench.iova(7), block + 5 * granule, granule, READ_WRITE);
    for (const [at, count] of [
      [2, 1],
      [4, 1],
      [3, 1],
      [0, 3],
      [4, 6],
    ] as const) {
      demandCode('EINVAL', `unmapping ${count} granules at ${at}`, () =>
        space.unmap(bench.iova(at), count * granule),
      );
    }
    demandEqual(space.mappedBytes, 4 * granule, 'bytes mapped');
    for (const side of [first, foreign]) bench.demandReads(side, bench.iova(4), block + 2 * granule);
    demandEqual(space.unmap(bench.iova(0), granule), 0, 'bytes removed where nothing is');
    demandEqual(space.unmap(bench.iova(0), 16 * granule), 4 * granule, 'bytes removed of both');
    for (const side of [first, foreign]) {
      for (const i of [2, 4])
        bench.demandNoAccess(side, bench.iova(i), 'unmapped', block + (i - 2) * granule);
      bench.demandNoAccess(side, bench.iova(7), 'unmapped', block + 5 * granule);
    }
  },

  'five kinds of overlap are refused with EEXIST'(bench) {
    const { granule, first } = bench;
    const [block, other] = [bench.page(4 * granule), bench.page(8 * granule)];
    const space = bench.iommu.createAddressSpace('over');
    const foreign = foreignSide(bench);
    for (const side of [foreign, first]) space.attach(side.device);
    space.map(bench.iova(4), block, 2 * granule, READ_WRITE);
    for (const [at, count] of OVERLAPS) {
      demandCode('EEXIST', `${count} granules at ${at} over 2 at 4`, () =>
        space.map(bench.iova(at), other, count * granule, READ_WRITE),
      );
    }
    demandSame(space);
    for (const side of [first, foreign]) {
      bench.demandReads(side, bench.iova(5), block + granule);
      for (const i of [3, 6]) bench.demandNoAccess(side, bench.iova(i), 'never mapped', other);
    }
  },

  'a member’s reserved region cannot be mapped, and who reserves what is mapped cannot join'(bench) {
    const { granule, first, iommu } = bench;
    const page = bench.page(2 * granule);
    const space = iommu.createAddressSpace('reserved');
    const foreign = foreignSide(bench);
    foreign.device.reservedRegions = [
      { name: 'window', kind: 'reserved', iova: bench.iova(5), sizeBytes: granule },
      { name: 'old firmware', kind: 'direct-relaxable', iova: bench.iova(9), sizeBytes: granule },
    ];
    space.attach(first.device);
    space.map(bench.iova(4), page, 2 * granule, READ_WRITE);
    demandCode('EADDRINUSE', 'joining', () => space.attach(foreign.device));
    demandEqual(space.members.length, 1, 'members');
    space.unmap(bench.iova(4), 2 * granule);
    space.attach(foreign.device);
    demandCode('EADDRINUSE', 'a map of the region', () =>
      space.map(bench.iova(4), page, 2 * granule, READ_WRITE),
    );
    // A relaxable one ends with the driver that needed it.
    space.map(bench.iova(9), page, granule, READ_WRITE);
    bench.demandReads(foreign, bench.iova(9), page);
    bench.demandNoAccess(first, bench.iova(4), 'not mapped', page);
    space.detach(foreign.device);
    space.map(bench.iova(4), page, 2 * granule, READ_WRITE);
    bench.demandReads(first, bench.iova(5), page + granule);
  },

  'a span of all IOMMUs has its domains from the start and keeps them'(bench) {
    const { granule, first, iommu } = bench;
    const page = bench.page();
    const tables = bench.fixture.allocatedTableBytes();
    const early = foreignSide(bench, {}, 'early');
    const earlyTables = early.instance.allocatedBytes;
    const space = iommu.createAddressSpace('everywhere', 'all');
    const kinds = new Set(iommu.instances.map((i) => i.tableKey)).size;
    demandEqual(space.domains.length, kinds, 'domains from the start');
    space.map(bench.iova(0), page, granule, READ_WRITE);
    const late = foreignSide(bench, {}, 'late');
    demandEqual(space.domains.length, kinds + 1, 'domains when one more IOMMU has come');
    const full = early.instance.allocatedBytes;
    for (const side of [first, early, late]) space.attach(side.device);
    demandEqual(early.instance.allocatedBytes, full, 'table memory after joining: nothing is replayed');
    for (const side of [first, early, late]) bench.demandReads(side, bench.iova(0), page);
    for (const side of [first, early, late]) space.detach(side.device);
    demandEqual(space.domains.length, kinds + 1, 'domains without members');
    space.free();
    demandEqual(bench.fixture.allocatedTableBytes(), tables, 'table memory at the end');
    demandEqual(early.instance.allocatedBytes, earlyTables, 'table memory of the other IOMMU');
  },

  'an IOMMU that cannot take part in a span of all does not disturb it'(bench) {
    const { granule, first, iommu } = bench;
    const page = bench.page();
    const space = iommu.createAddressSpace('most', 'all');
    space.map(bench.iova(0), page, granule, READ_WRITE);
    const coarse = foreignInstance(bench, { pageSizes: [4 * granule * 1024] }, 'coarse');
    iommu.registerInstance(coarse);
    demandEqual(coarse.allocatedBytes, 0, 'table memory of the one that cannot');
    space.attach(first.device);
    bench.demandReads(first, bench.iova(0), page);
    demandSame(space);
  },

  'who is in use elsewhere, has no IOMMU, or is a member already is refused'(bench) {
    const { first, second, iommu } = bench;
    const space = iommu.createAddressSpace('strict');
    const { domain, page } = bench.serving('elsewhere');
    demandCode('EBUSY', 'a device that is attached', () => space.attach(first.device));
    bench.demandReads(first, bench.iova(0), page);
    space.attach(second.device);
    demandCode('EBUSY', 'a member again', () => space.attach(second.device));
    demandCode('EBUSY', 'attaching a member elsewhere', () => iommu.attach(domain, second.device));
    demandCode('ENODEV', 'a device without IOMMU', () => space.attach(new Device('plain')));
    demandCode('EBUSY', 'freeing it with a member', () => space.free());
    space.detach(second.device);
    space.free();
    space.free();
    demandCode('EINVAL', 'joining what is freed', () => space.attach(second.device));
    demandCode('EINVAL', 'mapping in what is freed', () =>
      space.map(bench.iova(0), page, bench.granule, READ_WRITE),
    );
  },

  'an owner’s device joins, and is blocked again when it leaves'(bench) {
    const { first, iommu, granule } = bench;
    const page = bench.page();
    const space = iommu.createAddressSpace('owned');
    space.map(bench.iova(0), page, granule, READ_WRITE);
    iommu.claimOwnership(first.device, 'owner');
    space.attach(first.device);
    bench.demandReads(first, bench.iova(0), page);
    space.detach(first.device);
    bench.demandNoAccess(first, bench.iova(0), 'left', page);
    demandEqual(iommu.domainOf(first.device)?.kind, 'blocked', 'the domain of an owned device');
    space.attach(first.device);
    iommu.releaseOwnership(first.device, 'owner');
    bench.demandNoAccess(first, bench.iova(0), 'given back', page);
    demandEqual(space.domains.length, 0, 'domains without members');
  },

  'its handler hears of the faults of every member'(bench) {
    const { first, iommu } = bench;
    const heard: string[] = [];
    const space = iommu.createAddressSpace('heard');
    space.attach(first.device);
    space.setFaultHandler((fault) => {
      heard.push(`${fault.device}: ${fault.iova}`);
      return undefined;
    });
    const foreign = foreignSide(bench);
    space.attach(foreign.device);
    const expected = [first, foreign].map((side, i) => {
      bench.demandReadFaults(side, bench.iova(3 + i), 'not mapped');
      return `${side.device.name}: ${bench.iova(3 + i)}`;
    });
    demandEqual(heard, expected, 'faults the handler heard of');
  },
});

/** The same range, over its head, over its tail, inside it, around it: granules 4 and 5 are mapped. */
export const OVERLAPS = [
  [4, 2],
  [3, 2],
  [5, 2],
  [4, 1],
  [3, 4],
] as const;

/** Demands that every domain maps what the space maps. */
export function demandSame(space: IoAddressSpace): void {
  const expected = plainMappings(space.mappings());
  for (const domain of space.domains) {
    demandEqual(plainMappings(domain.mappings()), expected, `mappings of ${domain.name}`);
    for (const { iova, address, sizeBytes } of space.mappings()) {
      for (const offset of [0, sizeBytes - 1]) {
        demandEqual(domain.iovaToPhys(iova + offset), address + offset, `where ${domain.name} leads`);
      }
    }
  }
}

function readOnlyOf(bench: Bench): { read: boolean; write: boolean } {
  return bench.capabilities.permissions.readOnly ? READ_ONLY : READ_WRITE;
}
