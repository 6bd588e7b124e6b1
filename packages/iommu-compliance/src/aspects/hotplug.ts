/** An IOMMU, or a device, goes away while it is in use. */
import { READ_WRITE } from '@iommu-lab/iommu-core';
import { type Bench, MARK_BYTES } from '../bench.ts';
import { type Check, defineAspect } from '../check.ts';
import { demandCode, demandEqual } from '../demand.ts';
import { foreignSide } from '../foreign-side.ts';
import { type Probe, watchSteps } from '../watch-steps.ts';

export const hotplug: readonly Check[] = defineAspect('hotplug', {
  'an IOMMU goes with DMA running: its pages or nothing at every step, then nothing'(bench) {
    const { iommu, first } = bench;
    const { page } = bench.serving('running');
    const probes: Probe[] = [
      { side: first, iova: bench.iova(0), mayReach: [page], mayFault: true },
      { side: first, iova: bench.iova(3), mayReach: [], mayFault: true },
    ];
    bench.demandReads(first, bench.iova(0), page);
    watchSteps(bench, probes, () => iommu.removeInstance(first.endpoint.provider));
    bench.demandNoAccess(first, bench.iova(0), 'the IOMMU has gone', page);
    bench.demandNoAccess(first, page, 'the IOMMU has gone: at a physical address', page);
    demandEqual(
      iommu.instances.some((i) => i.provider === first.endpoint.provider),
      false,
      'whether the instance is registered',
    );
  },

  'what was mapped can still be unmapped, and its tables are freed'(bench) {
    const { iommu, first, granule } = bench;
    const tables = bench.fixture.allocatedTableBytes();
    const { domain, page } = bench.serving('orphan');
    domain.map(bench.iova(2), page, granule, READ_WRITE);
    bench.demandReads(first, bench.iova(0), page);
    iommu.removeInstance(first.endpoint.provider);
    demandEqual(domain.unmap(bench.iova(0), granule), granule, 'bytes removed');
    demandEqual(domain.iovaToPhys(bench.iova(0)), undefined, 'where it leads');
    demandEqual(domain.iovaToPhys(bench.iova(2)), page, 'where the other page leads');
    iommu.detach(domain, first.device);
    domain.free();
    demandEqual(bench.fixture.allocatedTableBytes(), tables, 'table memory');
  },

  'attaching what sits behind it is ENODEV'(bench) {
    const { iommu, first, second } = bench;
    const domain = bench.domain('late');
    iommu.removeInstance(first.endpoint.provider);
    for (const side of [first, second]) {
      if (side.endpoint.provider !== first.endpoint.provider) continue;
      demandCode('ENODEV', 'an attach', () => iommu.attach(domain, side.device));
      demandCode('ENODEV', 'a replace', () => iommu.replace(domain, side.device));
      demandCode(['ENODEV', 'EBUSY'], 'claiming it', () => iommu.claimOwnership(side.device, 'owner'));
      const space = iommu.createAddressSpace('late');
      demandCode('ENODEV', 'joining an address space', () => space.attach(side.device));
      demandEqual(space.domains.length, 0, 'domains of the space');
      bench.demandNoAccess(side, bench.iova(0), 'nobody attached it');
    }
  },

  'it comes back, and a device that is configured anew works'(bench) {
    const { iommu, first } = bench;
    const instance = bench.instanceOf(first);
    const tables = bench.fixture.allocatedTableBytes();
    const { domain, page } = bench.serving('before');
    bench.demandReads(first, bench.iova(0), page);
    iommu.removeInstance(instance.provider);
    demandCode('EPROBE_DEFER', 'configuring a device meanwhile', () => {
      iommu.cleanup(first.device);
      iommu.configure(first.device);
    });
    iommu.registerInstance(instance);
    for (const { device } of bench.sides) {
      iommu.cleanup(device);
      iommu.configure(device);
    }
    bench.demandNoAccess(first, bench.iova(0), 'a new beginning', page);
    iommu.attach(domain, first.device);
    bench.demandReads(first, bench.iova(0), page);
    iommu.detach(domain, first.device);
    domain.free();
    demandEqual(bench.fixture.allocatedTableBytes(), tables, 'table memory');
  },

  'a device behind another IOMMU does not notice'(bench) {
    const { iommu, first } = bench;
    const foreign = foreignSide(bench);
    const { page } = bench.serving('bystander', 0, foreign);
    bench.serving('leaving');
    const probe: Probe = { side: foreign, iova: bench.iova(0), mayReach: [page], mayFault: false };
    watchSteps(bench, [probe], () => iommu.removeInstance(first.endpoint.provider));
    bench.demandReads(foreign, bench.iova(0), page);
  },

  'the other IOMMU goes, and the device under test does not notice'(bench) {
    const { iommu, first } = bench;
    const foreign = foreignSide(bench);
    const { page } = bench.serving('bystander');
    const other = bench.serving('leaving', 0, foreign);
    const probe: Probe = { side: first, iova: bench.iova(0), mayReach: [page], mayFault: false };
    watchSteps(bench, [probe], () => iommu.removeInstance(foreign.endpoint.provider));
    bench.demandReads(first, bench.iova(0), page);
    bench.demandNoAccess(foreign, bench.iova(0), 'its IOMMU has gone', other.page);
  },

  'members of an address space that lose their IOMMU leave it'(bench) {
    const { iommu, first, granule } = bench;
    const page = bench.page();
    const tables = bench.fixture.allocatedTableBytes();
    const space = iommu.createAddressSpace('shrinking');
    const foreign = foreignSide(bench);
    for (const side of [first, foreign]) space.attach(side.device);
    space.map(bench.iova(0), page, granule, READ_WRITE);
    iommu.removeInstance(first.endpoint.provider);
    demandEqual(
      space.members.map((d) => d.name),
      [foreign.device.name],
      'members',
    );
    demandEqual(bench.fixture.allocatedTableBytes(), tables, 'table memory');
    bench.demandNoAccess(first, bench.iova(0), 'its IOMMU has gone', page);
    bench.demandReads(foreign, bench.iova(0), page);
    demandEqual(space.unmap(bench.iova(0), granule), granule, 'bytes removed');
    bench.demandNoAccess(foreign, bench.iova(0), 'unmapped', page);
  },

  'an access that is held ends as a fault when its IOMMU goes'(bench) {
    const { iommu, first } = bench;
    const domain = bench.attached('holding');
    domain.setFaultHandler(() => 'hold');
    const transfer = first.master.read(bench.iova(0), new Uint8Array(MARK_BYTES));
    bench.fixture.settle();
    const isHeld = bench.instanceOf(first).capabilities.stall;
    demandEqual(transfer.state, isHeld ? 'pending' : 'faulted', 'an access whose verdict is to hold');
    iommu.removeInstance(first.endpoint.provider);
    bench.fixture.settle();
    demandEqual(transfer.state, 'faulted', 'the access after its IOMMU has gone');
    for (const fault of bench.faults) {
      demandEqual(iommu.respond(fault, 'retry'), false, 'whether it still waited for an answer');
    }
  },

  'from every state a device can leave, and so can its IOMMU: nothing passes, nothing is left'(bench) {
    const { iommu, first } = bench;
    const instance = bench.instanceOf(first);
    const page = bench.page();
    const tables = bench.fixture.allocatedTableBytes();
    const leave = {
      device: () => iommu.cleanup(first.device),
      IOMMU() {
        iommu.removeInstance(instance.provider);
        iommu.removeInstance(instance.provider);
      },
    };
    for (const [state, enter] of Object.entries(states(bench, page))) {
      for (const [who, go] of Object.entries(leave)) {
        const what = `${state}: the ${who} leaves`;
        const end = enter();
        const probe: Probe = { side: first, iova: bench.iova(0), mayReach: [page], mayFault: true };
        watchSteps(bench, [probe], go);
        bench.demandNoAccess(first, bench.iova(0), what, page);
        end();
        if (who === 'IOMMU') iommu.registerInstance(instance);
        for (const { device } of bench.sides) {
          iommu.cleanup(device);
          iommu.configure(device);
        }
        bench.demandNoAccess(first, bench.iova(0), `${what} and comes back`, page);
        demandEqual(bench.fixture.allocatedTableBytes(), tables, `${what}: table memory afterwards`);
        demandEqual(iommu.groupOf(first.device)?.owner, undefined, `${what}: the owner afterwards`);
      }
    }
  },
});

/** Ways to be when the end comes. Each enters one, and returns what puts away the rest of it. */
function states(bench: Bench, page: number): Readonly<Record<string, () => () => void>> {
  const { iommu, first, granule } = bench;
  const { device } = first;
  const filled = () => {
    const domain = bench.domain('state');
    domain.map(bench.iova(0), page, granule, READ_WRITE);
    return domain;
  };
  return {
    configured: () => () => undefined,
    blocked() {
      iommu.replace(iommu.blockedDomain, device);
      return () => undefined;
    },
    attached() {
      const domain = filled();
      iommu.attach(domain, device);
      bench.demandReads(first, bench.iova(0), page);
      return () => {
        iommu.detach(domain, device);
        domain.free();
      };
    },
    owned() {
      iommu.claimOwnership(device, 'owner');
      return () => undefined;
    },
    'owned and attached'() {
      const domain = filled();
      iommu.claimOwnership(device, 'owner');
      iommu.attach(domain, device);
      return () => {
        iommu.detach(domain, device);
        domain.free();
      };
    },
    'attached, its writes noted'() {
      const domain = filled();
      iommu.attach(domain, device);
      if (bench.capabilities.dirtyTracking) domain.setDirtyTracking(true);
      bench.demandWrites(first, bench.iova(0), page);
      return () => {
        iommu.detach(domain, device);
        domain.free();
      };
    },
    'in an address space'() {
      const space = iommu.createAddressSpace('state');
      space.map(bench.iova(0), page, granule, READ_WRITE);
      space.attach(device);
      return () => {
        space.detach(device);
        space.free();
      };
    },
  };
}
