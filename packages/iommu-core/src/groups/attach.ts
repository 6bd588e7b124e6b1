/**
 * Transitions of bindings from domain to domain. All of them or none (drivers/iommu/iommu.c,
 * __iommu_group_set_domain_internal); where a move must succeed, what fails is blocked and reported.
 * A binding is without a domain when nothing could be attached, and when its IOMMU has gone: blocked then.
 */
import { isLabError, LabError, type World } from '@iommu-lab/machine';
import { internalsOf, type IommuDomain } from '../domain.ts';
import type { Binding } from './group.ts';
import { requiresDirect } from '../reserved-regions.ts';

/** Which domain a binding goes to. */
export type DomainOf = (binding: Binding) => IommuDomain;

/**
 * Checks that `domain` can translate `binding`.
 * @throws LabError EINVAL when it was freed or made for other hardware, or would block a device that must always reach its
 * `direct` regions; EOPNOTSUPP when the hardware has no pass-through; ENODEV when the IOMMU has been removed
 */
export function checkCompatible(domain: IommuDomain, binding: Binding): void {
  const { isFreed, accepts } = internalsOf(domain);
  const { instance, device } = binding;
  const details = { domain: domain.name, device: device.name, instance: instance.name };
  if (isFreed) throw new LabError('EINVAL', `domain ${domain.name} has been freed`, details);
  refuseGone([binding]);
  if (domain.kind === 'blocked' && requiresDirect(binding)) {
    throw new LabError('EINVAL', `${device.name} cannot be blocked: it has direct regions`, details);
  }
  if (domain.kind === 'identity' && !instance.capabilities.identity) {
    throw new LabError(
      'EOPNOTSUPP',
      `${instance.name} cannot pass ${device.name} through untranslated`,
      details,
    );
  }
  if (!accepts(instance)) {
    throw new LabError(
      'EINVAL',
      `${instance.name}, in front of ${device.name}, cannot use the tables of ${domain.name}`,
      details,
    );
  }
}

/** @throws LabError ENODEV when the IOMMU of one of them has been removed: its hardware is not to be asked */
export function refuseGone(bindings: readonly Binding[]): void {
  const gone = bindings.find((b) => b.isGone);
  if (gone === undefined) return;
  const { instance, device } = gone;
  throw new LabError('ENODEV', `${instance.name}, in front of ${device.name}, has been removed`, {
    device: device.name,
  });
}

/**
 * Moves each binding to its domain, or leaves all where they are. The order is the bindings'; a failure takes those that
 * moved back in reverse.
 * @throws LabError as `checkCompatible` and the driver port's `attach`
 */
export function attachAll(world: World, bindings: readonly Binding[], domainOf: DomainOf): void {
  for (const binding of bindings) checkCompatible(domainOf(binding), binding);
  const moved: { readonly binding: Binding; readonly from: IommuDomain | undefined }[] = [];
  try {
    for (const binding of bindings) {
      const domain = domainOf(binding);
      const from = binding.domain;
      if (from === domain) continue;
      if (world.fail('iommu-core.attach')) {
        throw new LabError('ENOMEM', `no memory to attach ${binding.device.name}`, { domain: domain.name });
      }
      program(binding, domain);
      moved.push({ binding, from });
    }
  } catch (error) {
    for (const { binding, from } of moved.reverse()) {
      if (from === undefined) release(world, binding);
      else mustAttach(world, binding, from);
    }
    throw error;
  }
  for (const binding of bindings) binding.blockedBy = undefined;
}

/** Moves a binding to `domain` whatever happens: if the hardware refuses, its streams are blocked and it is reported. */
export function mustAttach(world: World, binding: Binding, domain: IommuDomain): void {
  if (binding.domain === domain || binding.isGone) return;
  try {
    program(binding, domain);
  } catch (error) {
    release(world, binding);
    report(world, binding, `attach to ${domain.name}`, error);
  }
}

/** Blocks a binding that the hardware cannot tell from one that could not be attached, and tells. Never fails. */
export function quarantine(world: World, binding: Binding, failed: Binding): void {
  if (binding.domain === undefined) return;
  release(world, binding);
  tellQuarantined(world, binding, 'share a context', `${failed.endpoint.context} could not be attached`);
}

/** Takes a binding off the hardware. Never fails. */
export function release(world: World, binding: Binding): void {
  const { domain, instance, endpoint } = binding;
  binding.blockedBy = undefined;
  if (domain === undefined) return;
  binding.domain = undefined;
  try {
    instance.release(endpoint, internalsOf(domain).target);
  } catch (error) {
    report(world, binding, 'release', error);
  }
}

function program(binding: Binding, domain: IommuDomain): void {
  const previous = binding.domain === undefined ? undefined : internalsOf(binding.domain).target;
  binding.instance.attach(binding.endpoint, internalsOf(domain).target, previous);
  binding.domain = domain;
  binding.blockedBy = undefined;
}

function report(world: World, binding: Binding, step: string, error: unknown): void {
  if (!isLabError(error)) throw error;
  tellQuarantined(world, binding, step, error.message);
}

function tellQuarantined(world: World, { device, endpoint }: Binding, step: string, error: string): void {
  world.emit('iommu:endpoint_quarantined', {
    device: device.name,
    provider: endpoint.provider,
    context: endpoint.context,
    step,
    error,
  });
}
