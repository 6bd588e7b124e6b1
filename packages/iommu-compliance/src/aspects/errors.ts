/** Misuse is refused with the right code, before anything changed. */
import { Device } from '@iommu-lab/driver-core';
import { READ_WRITE } from '@iommu-lab/iommu-core';
import { type Check, defineAspect } from '../check.ts';
import { demandCode, demandEqual } from '../demand.ts';

export const errors: readonly Check[] = defineAspect('errors', {
  'a context that the hardware has not is refused with ENODEV'({ iommu, first }) {
    const stranger = new Device('stranger');
    stranger.endpoints = [
      { provider: first.endpoint.provider, context: 'no such context', streamIds: [0x7fff] },
    ];
    const groups = iommu.groups.length;
    demandCode('ENODEV', 'configuring it', () => iommu.configure(stranger));
    demandEqual(iommu.groupOf(stranger), undefined, 'its group');
    demandEqual(iommu.groups.length, groups, 'groups');
  },

  'an unknown provider defers the device'({ iommu }) {
    const early = new Device('early');
    early.endpoints = [{ provider: 'not yet there', context: 'any', streamIds: [0] }];
    demandCode('EPROBE_DEFER', 'configuring it', () => iommu.configure(early));
  },

  'one bad endpoint of two leaves nothing configured'({ iommu, first }) {
    iommu.cleanup(first.device);
    const twoLegged = new Device('two-legged');
    twoLegged.endpoints = [
      first.endpoint,
      { provider: first.endpoint.provider, context: 'no such context', streamIds: [0x7fff] },
    ];
    demandCode('ENODEV', 'configuring it', () => iommu.configure(twoLegged));
    iommu.configure(first.device);
    demandEqual(iommu.groupOf(first.device)?.devices.length, 1, 'members of the group');
  },

  'a device without IOMMU is refused with ENODEV'(bench) {
    const plain = new Device('plain');
    bench.iommu.configure(plain);
    const domain = bench.domain('any');
    demandCode('ENODEV', 'a domain for it', () => void bench.iommu.allocPagingDomain(plain));
    demandCode('ENODEV', 'an attach of it', () => bench.iommu.attach(domain, plain));
  },

  'a provider has one instance'(bench) {
    const { iommu } = bench;
    demandCode('EEXIST', 'registering a second', () => iommu.registerInstance(bench.instanceOf(bench.first)));
  },

  'an instance in use is not taken away'(bench) {
    const page = bench.page();
    bench.attached('served').map(bench.iova(0), page, bench.granule, READ_WRITE);
    const { provider } = bench.first.endpoint;
    demandCode('EBUSY', 'unregistering it', () => bench.iommu.unregisterInstance(provider));
    bench.demandReads(bench.first, bench.iova(0), page);
  },

  'static domains cannot be mapped'({ iommu, base, granule }) {
    for (const domain of [iommu.identityDomain, iommu.blockedDomain]) {
      demandCode('EINVAL', `a map in ${domain.name}`, () => domain.map(base, base, granule, READ_WRITE));
      demandCode('EINVAL', `an unmap in ${domain.name}`, () => void domain.unmap(base, granule));
    }
  },

  'what is refused leaves no table memory behind'(bench) {
    const { granule } = bench;
    const domain = bench.attached('refusing');
    const page = bench.page();
    const tables = bench.fixture.allocatedTableBytes();
    demandCode('EINVAL', 'an unaligned map', () => domain.map(bench.iova(0) + 1, page, granule, READ_WRITE));
    demandCode('ERANGE', 'a map outside the aperture', () =>
      domain.map(bench.capabilities.aperture.last + 1, page, granule, READ_WRITE),
    );
    demandEqual(bench.fixture.allocatedTableBytes(), tables, 'table memory');
    domain.map(bench.iova(0), page, granule, READ_WRITE);
    const mapped = bench.fixture.allocatedTableBytes();
    demandCode('EEXIST', 'a map over it', () => domain.map(bench.iova(0), page, 2 * granule, READ_WRITE));
    demandEqual(bench.fixture.allocatedTableBytes(), mapped, 'table memory with a page mapped');
  },
});
