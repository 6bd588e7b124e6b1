/** A paging domain for IOMMUs, where the core's own way to ask for one starts from a device. */
import { LabError, type World } from '@iommu-lab/machine';
import { canServe, commonCapabilities } from '../common-capabilities.ts';
import { IommuDomain } from '../domain.ts';
import type { IommuInstance } from '../driver-port.ts';
import type { GroupState } from '../group.ts';
import type { Iommu } from '../iommu.ts';

/**
 * A domain with nothing mapped, that each of `instances` (of one table key) can use, and any later one that can do no less.
 * @throws LabError ENODEV for no instance; EOPNOTSUPP when they have no page size in common; ENOMEM
 */
export function domainFor(
  world: World,
  iommu: Iommu,
  instances: readonly IommuInstance[],
  name: string,
): IommuDomain {
  const [first, ...rest] = instances;
  if (first === undefined) throw new LabError('ENODEV', `there is no IOMMU to make ${name} for`, { name });
  const capabilities = rest.reduce((sum, i) => commonCapabilities(sum, i.capabilities), first.capabilities);
  if (capabilities.pageSizes.length === 0) {
    throw new LabError('EOPNOTSUPP', `the IOMMUs for ${name} have no page size in common`, { name });
  }
  if (world.fail('iommu-core.domain')) throw new LabError('ENOMEM', 'no memory for a domain', { name });
  const domain: IommuDomain = new IommuDomain(world, {
    name,
    target: { kind: 'paging', table: first.createPagingTable() },
    capabilities,
    accepts: (other) => other.tableKey === first.tableKey && canServe(other.capabilities, capabilities),
    users: () => usersOf(iommu, domain),
  });
  return domain;
}

function usersOf(iommu: Iommu, domain: IommuDomain): readonly string[] {
  // The core's groups are of the fuller type.
  const bindings = (iommu.groups as readonly GroupState[]).flatMap((g) => g.bindings);
  return [...new Set(bindings.filter((b) => b.domain === domain).map((b) => b.device.name))];
}
