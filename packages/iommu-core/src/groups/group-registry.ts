/** The groups there are: who is in which, and what an operation that starts from a device works on. */
import type { Device } from '@iommu-lab/driver-core';
import { LabError } from '@iommu-lab/machine';
import { refuseGone } from './attach.ts';
import type { IommuInstance } from '../driver-port.ts';
import type { Binding, GroupState } from './group.ts';
import type { InstanceRegistry } from '../instance-registry.ts';

export class GroupRegistry {
  readonly #groups: GroupState[] = [];

  /** By number; the list itself, which changes. */
  get all(): readonly GroupState[] {
    return this.#groups;
  }

  add(group: GroupState): void {
    this.#groups.push(group);
  }

  remove(group: GroupState): void {
    this.#groups.splice(this.#groups.indexOf(group), 1);
  }

  find(device: Device): GroupState | undefined {
    return this.#groups.find((g) => g.devices.includes(device));
  }

  /** @throws LabError ENODEV when the device is not configured or has no IOMMU */
  require(device: Device): GroupState {
    const group = this.find(device);
    if (group === undefined) {
      throw new LabError('ENODEV', `${device.name} is behind no IOMMU, or not configured`, {
        device: device.name,
      });
    }
    return group;
  }

  /** The group of a device that is alone in it. @throws LabError ENODEV, EINVAL when it has other members */
  requireAlone(device: Device): GroupState {
    const group = this.require(device);
    if (group.devices.length === 1) return group;
    const others = group.devices.filter((d) => d !== device).map((d) => d.name);
    throw new LabError('EINVAL', `${device.name} shares group ${group.id} with ${others.join(', ')}`, {
      device: device.name,
    });
  }

  /** Of all groups. */
  bindings(): readonly Binding[] {
    return this.#groups.flatMap((g) => g.bindings);
  }

  /** @throws LabError ENODEV */
  bindingsOf(device: Device): readonly Binding[] {
    return this.require(device).bindings.filter((b) => b.device === device);
  }

  /** The IOMMUs in front of a device. @throws LabError ENODEV, also when one of them has been removed */
  instancesOf(device: Device): readonly IommuInstance[] {
    const bindings = this.bindingsOf(device);
    refuseGone(bindings);
    return bindings.map((b) => b.instance);
  }
}

/** An endpoint whose IOMMU has been found. */
export type ProbedEndpoint = Pick<Binding, 'device' | 'endpoint' | 'instance' | 'isolationKey'>;

/**
 * The IOMMUs behind the endpoints of a device that comes.
 * @throws LabError EPROBE_DEFER while an IOMMU has not come; ENODEV when the hardware has no such context
 */
export function probeEndpoints(device: Device, registry: InstanceRegistry): readonly ProbedEndpoint[] {
  const instances = device.endpoints.map((e) => registry.resolve(e.provider, device.name));
  return device.endpoints.map((endpoint, i) => {
    const instance = instances[i] as IommuInstance;
    const isolationKey = `${endpoint.provider}\n${instance.probeEndpoint(device, endpoint)}`;
    return { device, endpoint, instance, isolationKey };
  });
}
