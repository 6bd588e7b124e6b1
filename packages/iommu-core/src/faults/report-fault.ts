/** From what the hardware said to a fault with names: whose stream it was, which domain was current. */
import type { Device } from '@iommu-lab/driver-core';
import { isLabError, type World } from '@iommu-lab/machine';
import { internalsOf, type IommuDomain } from '../domain.ts';
import type { FaultReport, IommuInstance, WalkStep } from '../driver-port.ts';
import type { FaultEvidence, FaultLog } from './fault-log.ts';
import type { Fault } from './fault.ts';
import type { Binding } from '../groups/group.ts';

/** Makes the fault and captures what an explanation will need. Changes nothing. */
export function collectFault(
  world: World,
  bindings: readonly Binding[],
  instance: IommuInstance,
  report: FaultReport,
  log: FaultLog,
  ownerOf: (device: Device) => unknown,
): { readonly fault: Fault; readonly evidence: FaultEvidence } {
  const binding = findBinding(bindings, instance, report);
  const domain = binding?.domain;
  const fault: Fault = {
    ...report,
    id: log.nextId,
    ns: world.clock.now,
    device: binding?.device.name,
    provider: instance.provider,
    domain: domain?.name,
  };
  const evidence = {
    device: binding?.device,
    instance,
    domain,
    walk: domain === undefined ? [] : walkOf(domain, report.iova),
    mappedTo: domain?.iovaToPhys(report.iova),
    owner: binding && nameOf(ownerOf(binding.device)),
    order: domain === undefined ? 0 : internalsOf(domain).journal.order,
  };
  return { fault, evidence };
}

/** By context and stream; else whoever has the context; else, of an access that was not routed, whoever has the stream. */
function findBinding(
  bindings: readonly Binding[],
  instance: IommuInstance,
  report: FaultReport,
): Binding | undefined {
  const here = bindings.filter((b) => b.instance === instance && !b.isGone);
  const hasStream = (b: Binding): boolean => b.endpoint.streamIds.includes(report.streamId);
  if (report.context === undefined) return here.find(hasStream);
  const inContext = here.filter((b) => b.endpoint.context === report.context);
  return inContext.find(hasStream) ?? inContext[0];
}

/** What to call an opaque owner. */
function nameOf(owner: unknown): string | undefined {
  if (owner === undefined || typeof owner === 'string') return owner;
  const name: unknown = Object(owner).name;
  return typeof name === 'string' && name !== '' ? name : 'somebody';
}

function walkOf(domain: IommuDomain, iova: number): readonly WalkStep[] {
  const { target, isFreed, process } = internalsOf(domain);
  if (isFreed) return [];
  try {
    if (target.kind === 'paging') return target.table.walk(iova);
    return process?.walk(iova) ?? [];
  } catch (error) {
    // A table at an address that is none: the fault is reported all the same.
    if (!isLabError(error)) throw error;
    return [];
  }
}
