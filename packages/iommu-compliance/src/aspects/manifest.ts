/** The manifest says what can be true of hardware, and who is who. */
import { isAligned, isPowerOfTwo } from '@iommu-lab/machine';
import { type Check, defineAspect } from '../check.ts';
import { demand, demandCode, demandEqual } from '../demand.ts';

export const manifest: readonly Check[] = defineAspect('manifest', {
  'page sizes are powers of two, ascending'(bench) {
    for (const side of bench.sides) {
      const { pageSizes } = bench.instanceOf(side).capabilities;
      demand(pageSizes.length > 0, 'there is a page size');
      pageSizes.forEach((size, i) => {
        demand(isPowerOfTwo(size), `page size ${size} is a power of two`);
        demand(i === 0 || size > (pageSizes[i - 1] ?? 0), `page size ${size} comes after smaller ones`);
      });
    }
  },

  'the aperture is made of whole granules'({ capabilities, granule }) {
    const { start, last } = capabilities.aperture;
    demand(start >= 0 && start < last, 'the aperture is not empty');
    demand(
      isAligned(start, granule) && isAligned(last + 1, granule),
      'both ends of the aperture are aligned',
    );
  },

  'the aperture has room for every page size'(bench) {
    const { start, last } = bench.capabilities.aperture;
    for (const size of bench.capabilities.pageSizes) {
      demand(Math.ceil(start / size) * size + size - 1 <= last, `a page of ${size} bytes fits`);
    }
  },

  'the last physical address is a whole granule’s last byte'({ capabilities, granule }) {
    demand(isAligned(capabilities.lastPhysAddr + 1, granule), 'the last physical address ends a granule');
  },

  'the other entries have values that mean something'({ capabilities }) {
    const { switchKind, pasids, permissions } = capabilities;
    demand(['atomic', 'old-or-new', 'disruptive'].includes(switchKind), `switchKind ${switchKind} is known`);
    demand(Number.isInteger(pasids) && pasids >= 0, 'pasids is a count');
    demand(
      capabilities.processFormats.length === 0 || capabilities.stall,
      'who walks the tables of processes can wait for a page',
    );
    for (const [right, has] of Object.entries(permissions)) {
      demand(typeof has === 'boolean', `permissions.${right} is a yes or a no`);
    }
  },

  'an instance has a name, and the provider that endpoints name'(bench) {
    for (const side of bench.sides) {
      const instance = bench.instanceOf(side);
      demand(instance.name !== '', 'the instance has a name');
      demand(instance.tableKey !== '', 'the instance has a table key');
      demandEqual(instance.provider, side.endpoint.provider, 'the provider');
    }
  },

  'the same endpoint always has the same isolation key'(bench) {
    const { device, endpoint } = bench.first;
    const instance = bench.instanceOf(bench.first);
    const keys = [instance.probeEndpoint(device, endpoint), instance.probeEndpoint(device, endpoint)];
    demandEqual(keys[0], keys[1], 'the isolation key');
  },

  'devices that can be told apart are in groups of their own'({ iommu, first, second }) {
    const [a, b] = [iommu.groupOf(first.device), iommu.groupOf(second.device)];
    demand(a !== undefined && b !== undefined, 'both devices have a group');
    demand(a !== b, 'the groups differ');
    demandEqual(a.devices.length, 1, 'members of the first group');
  },

  'the default domain lets nothing through'(bench) {
    for (const side of bench.sides) {
      const kind = bench.iommu.defaultDomainOf(side.device)?.kind;
      demand(
        kind === 'paging' || kind === 'blocked',
        `the fixture's default domain is dma or blocked, not ${kind}`,
      );
      bench.demandNoAccess(side, bench.iova(0), 'nothing is mapped yet');
    }
  },

  'kinds of domains that nobody can make are refused'({ iommu, first, capabilities }) {
    // Where the hardware can, a process has its domain by `bindProcess`.
    const code = capabilities.processFormats.length === 0 ? 'EOPNOTSUPP' : 'EINVAL';
    demandCode(code, 'a domain of kind sva', () => void iommu.allocDomain(first.device, 'sva'));
    demandCode('EOPNOTSUPP', 'a domain of kind nested', () => void iommu.allocDomain(first.device, 'nested'));
  },
});
