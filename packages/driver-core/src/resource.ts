/** What a device occupies: register windows and interrupt numbers, by name. */
import { LabError } from '@iommu-lab/machine';

export interface MemoryResource {
  readonly kind: 'memory';
  readonly name: string;
  /** Physical address of the first register. */
  readonly start: number;
  readonly sizeBytes: number;
}

export interface InterruptResource {
  readonly kind: 'interrupt';
  readonly name: string;
  /** Number at the interrupt controller. */
  readonly irq: number;
}

export type Resource = MemoryResource | InterruptResource;

/** @throws LabError ENODEV when there is none of that kind and name. */
export function findResource<K extends Resource['kind']>(
  owner: string,
  resources: readonly Resource[],
  kind: K,
  name: string,
): Extract<Resource, { kind: K }> {
  const found = resources.find((r) => r.kind === kind && r.name === name);
  if (found === undefined) {
    throw new LabError('ENODEV', `${owner} has no ${kind} resource "${name}"`, { device: owner });
  }
  return found as Extract<Resource, { kind: K }>;
}
