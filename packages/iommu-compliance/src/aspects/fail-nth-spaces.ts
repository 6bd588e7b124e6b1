/** Each step of address spaces and processes failing in turn: as `fail-nth.ts`, for what spans domains. */
import { Device } from '@iommu-lab/driver-core';
import { type IoAddressSpace, type ProcessBond, READ_WRITE } from '@iommu-lab/iommu-core';
import type { Bench } from '../bench.ts';
import { type Check, defineAspect } from '../check.ts';
import { demandEqual } from '../demand.ts';
import { neverFails, plainMappings, type Sweep, sweep } from '../fail-steps.ts';
import { foreignDevice, foreignInstance, type ForeignSide, foreignSide } from '../foreign-side.ts';
import { demandSame } from './address-space.ts';
import { canWork, newProcess } from './process.ts';

const PROCESS_PAGE = 0x1000;

export const failNthOfSpaces: readonly Check[] = defineAspect('fail-nth', {
  'address space: map, through every IOMMU or none'(bench) {
    const { space, foreign } = twoKinds(bench);
    const { granule } = bench;
    const block = bench.page(4 * granule);
    sweepSpace(bench, space, foreign, {
      act: () => space.map(bench.iova(2), block, 4 * granule, READ_WRITE),
      undo: () => void space.unmap(bench.iova(2), 4 * granule),
      probes: [0, 2, 5].map((i) => bench.iova(i)),
    });
  },

  'address space: map of a scattered buffer, through every IOMMU or none'(bench) {
    const { space, foreign } = twoKinds(bench);
    const { granule } = bench;
    const entries = bench.scatteredPages(3).map((address) => ({ address, length: granule }));
    sweepSpace(bench, space, foreign, {
      act: () => void space.mapSg(bench.iova(2), entries, READ_WRITE),
      undo: () => void space.unmap(bench.iova(2), 3 * granule),
      probes: [0, 2, 4].map((i) => bench.iova(i)),
    });
  },

  'address space: a device joins, with every mapping or not at all'(bench) {
    const { space, foreign } = twoKinds(bench);
    for (const side of [bench.second, foreign, bench.first]) {
      space.detach(side.device);
      sweepSpace(bench, space, foreign, {
        act: () => space.attach(side.device),
        undo: () => space.detach(side.device),
        probes: [bench.iova(0), bench.iova(1)],
      });
      space.attach(side.device);
    }
  },

  'address space: made for all IOMMUs, or not at all'(bench) {
    const foreign = foreignSide(bench);
    let space: IoAddressSpace | undefined;
    sweep(bench, [], {
      act() {
        space = bench.iommu.createAddressSpace('all', 'all');
      },
      undo: () => space?.free(),
      look: () => foreign.instance.allocatedBytes,
    });
  },

  'address space: an IOMMU that comes while memory is short is registered, and joins later'(bench) {
    const { iommu, granule } = bench;
    const page = bench.page();
    const space = iommu.createAddressSpace('everywhere', 'all');
    space.map(bench.iova(0), page, granule, READ_WRITE);
    let n = 0;
    let late = foreignInstance(bench, {}, `late-${n}`);
    neverFails(bench, {
      prepare() {
        late = foreignInstance(bench, {}, `late-${++n}`);
      },
      act: () => iommu.registerInstance(late),
      verify() {
        const side = foreignDevice(bench, late);
        space.attach(side.device);
        bench.demandReads(side, bench.iova(0), page);
        demandSame(space);
      },
    });
  },

  'configuring a device with ways into two kinds of IOMMU'(bench) {
    const { iommu, first } = bench;
    const foreign = foreignSide(bench);
    for (const { device } of [first, foreign]) iommu.cleanup(device);
    const device = new Device('two-legged');
    device.endpoints = [first.endpoint, foreign.endpoint];
    sweep(bench, [], {
      act: () => iommu.configure(device),
      undo: () => iommu.cleanup(device),
      probes: [bench.iova(0)],
      sides: [first, foreign],
      look: () => foreign.instance.allocatedBytes,
    });
  },

  'address space: unmap never fails'(bench) {
    const { space, foreign } = twoKinds(bench);
    const { granule } = bench;
    const page = bench.page();
    neverFails(bench, {
      prepare() {
        space.map(bench.iova(3), page, granule, READ_WRITE);
        for (const side of [bench.first, foreign]) bench.demandReads(side, bench.iova(3), page);
      },
      act: () => demandEqual(space.unmap(bench.iova(3), granule), granule, 'bytes removed'),
      verify() {
        for (const side of [bench.first, foreign])
          bench.demandNoAccess(side, bench.iova(3), 'unmapped', page);
        demandSame(space);
      },
    });
  },

  'address space: a device leaves, and that never fails'(bench) {
    const { space, foreign, page } = twoKinds(bench);
    for (const side of [bench.first, foreign]) {
      neverFails(bench, {
        prepare() {
          if (!space.members.includes(side.device)) space.attach(side.device);
          bench.demandReads(side, bench.iova(0), page);
        },
        act: () => space.detach(side.device),
        verify() {
          bench.demandNoAccess(side, bench.iova(0), 'no member any more', page);
          demandEqual(space.members.includes(side.device), false, 'whether it is a member');
        },
      });
    }
  },

  'address space: its end never fails, and gives all memory back'(bench) {
    const foreign = foreignSide(bench);
    const before = [bench.fixture.allocatedTableBytes(), foreign.instance.allocatedBytes];
    const page = bench.page();
    let space: IoAddressSpace | undefined;
    neverFails(bench, {
      prepare() {
        space = bench.iommu.createAddressSpace('ending', 'all');
        space.map(bench.iova(0), page, bench.granule, READ_WRITE);
      },
      act: () => space?.free(),
      verify() {
        const after = [bench.fixture.allocatedTableBytes(), foreign.instance.allocatedBytes];
        demandEqual(after, before, 'table memory');
      },
    });
  },

  'process: binding a device'(bench) {
    if (!canWork(bench)) return;
    const { iommu, first } = bench;
    const space = newProcess(bench, 'sva');
    const at = space.mmap(PROCESS_PAGE);
    space.write(at, bench.newMark());
    for (const context of [undefined, `${first.endpoint.provider}:${first.endpoint.context}`]) {
      let bond: ProcessBond | undefined;
      sweep(bench, [], {
        act() {
          bond = iommu.bindProcess(first.device, space, context);
        },
        undo: () => bond?.unbind(),
        probes: [at],
      });
    }
  },

  'process: unbinding never fails, and leaves no way to its memory'(bench) {
    if (!canWork(bench)) return;
    const { iommu, first } = bench;
    const space = newProcess(bench, 'sva');
    const at = space.mmap(PROCESS_PAGE);
    const tables = bench.fixture.allocatedTableBytes();
    let bond: ProcessBond | undefined;
    neverFails(bench, {
      prepare() {
        bond = iommu.bindProcess(first.device, space);
        demandEqual(bench.read(first.master, at).state, 'done', 'a read of the process');
      },
      act: () => bond?.unbind(),
      verify() {
        bench.demandNoAccess(first, at, 'unbound', space.lookup(at));
        demandEqual(bench.fixture.allocatedTableBytes(), tables, 'table memory');
      },
    });
  },

  'process: its end never fails, and stops the device'(bench) {
    if (!canWork(bench)) return;
    const { iommu, first } = bench;
    let [at, bond] = [0, undefined as ProcessBond | undefined];
    let space = newProcess(bench, 'sva');
    neverFails(bench, {
      prepare() {
        space = newProcess(bench, 'sva');
        at = space.mmap(PROCESS_PAGE);
        bond = iommu.bindProcess(first.device, space);
        demandEqual(bench.read(first.master, at).state, 'done', 'a read of the process');
      },
      act: () => space.exit(),
      verify() {
        bench.demandNoAccess(first, at, 'the process has ended');
        bond?.unbind();
      },
    });
  },

  'process: a page that cannot be brought in ends the access, and the next one works'(bench) {
    if (!canWork(bench)) return;
    const { iommu, first } = bench;
    const space = newProcess(bench, 'sva');
    iommu.bindProcess(first.device, space);
    let at = 0;
    neverFails(bench, {
      prepare() {
        at = space.mmap(PROCESS_PAGE, { lazy: true });
      },
      act: () => void bench.read(first.master, at),
      verify: () => demandEqual(bench.read(first.master, at).state, 'done', 'the access made again'),
    });
  },
});

/** A space with a page at the window's first IOVA and a scattered buffer behind it, and members of two kinds. */
function twoKinds(bench: Bench): {
  readonly space: IoAddressSpace;
  readonly foreign: ForeignSide;
  readonly page: number;
} {
  const { granule } = bench;
  const page = bench.page();
  const foreign = foreignSide(bench);
  const space = bench.iommu.createAddressSpace('space');
  for (const { device } of [bench.first, foreign]) space.attach(device);
  space.map(bench.iova(0), page, granule, READ_WRITE);
  const address = bench.page();
  bench.markAt(address);
  space.mapSg(bench.iova(1), [{ address, length: granule }], READ_WRITE);
  return { space, foreign, page };
}

function sweepSpace(bench: Bench, space: IoAddressSpace, foreign: ForeignSide, operation: Sweep): void {
  sweep(bench, space.domains, {
    ...operation,
    sides: [...bench.sides, foreign],
    look() {
      demandSame(space);
      return {
        foreign: foreign.instance.allocatedBytes,
        mappings: plainMappings(space.mappings()),
        domains: space.domains.length,
        members: space.members.map((d) => d.name).sort(),
      };
    },
  });
}
