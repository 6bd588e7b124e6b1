/** A device comes, goes, and is moved from one domain to another. There is no native yardstick: it is register writes. */
import { benchCase, type BenchCase } from '@iommu-lab/bench';
import type { IommuDomain } from '@iommu-lab/iommu-core';
import { Rig } from './rig.ts';

const ROUNDS = 512;

/** The cases. */
export default [
  benchCase({
    name: 'attach and detach',
    operations: ROUNDS,
    prepare: () => {
      const { iommu, domains, devices } = new Rig(1);
      const [domain, device] = [domains[0] as IommuDomain, devices[0] as Rig['devices'][number]];
      return {
        run: () => {
          for (let i = 0; i < ROUNDS; i++) {
            iommu.detach(domain, device);
            iommu.attach(domain, device);
          }
          return iommu.domainOf(device) === domain ? 1 : 0;
        },
        verify: () => {
          iommu.detach(domain, device);
          if (iommu.domainOf(device) === domain) throw new Error('still attached');
          iommu.attach(domain, device);
        },
      };
    },
  }),
  benchCase({
    name: 'switch between two domains',
    operations: 2 * ROUNDS,
    prepare: () => {
      const { iommu, domains, devices } = new Rig(1);
      const [first, device] = [domains[0] as IommuDomain, devices[0] as Rig['devices'][number]];
      const second = iommu.allocPagingDomain(device, 'other');
      return {
        run: () => {
          for (let i = 0; i < ROUNDS; i++) {
            iommu.replace(second, device);
            iommu.replace(first, device);
          }
          return iommu.domainOf(device) === first ? 1 : 0;
        },
        verify: () => {
          iommu.replace(second, device);
          if (iommu.domainOf(device) !== second) throw new Error('not moved');
          iommu.replace(first, device);
        },
      };
    },
  }),
] as readonly BenchCase[];
