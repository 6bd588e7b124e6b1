/** Which IOMMU instance answers for a provider. Two instances of one kind, or of two kinds, are nothing special. */
import { LabError } from '@iommu-lab/machine';
import type { IommuInstance } from './driver-port.ts';

export class InstanceRegistry {
  readonly #byProvider = new Map<string, IommuInstance>();

  /** Instances in the order they came. */
  all(): readonly IommuInstance[] {
    return [...this.#byProvider.values()];
  }

  /** @throws LabError EEXIST when the provider has an instance */
  add(instance: IommuInstance): void {
    const { provider } = instance;
    if (this.#byProvider.has(provider)) {
      throw new LabError('EEXIST', `provider "${provider}" has an IOMMU already`, { provider });
    }
    this.#byProvider.set(provider, instance);
  }

  remove(provider: string): void {
    this.#byProvider.delete(provider);
  }

  /** @throws LabError EPROBE_DEFER while nobody has registered for the provider: its driver may still come */
  resolve(provider: string, device: string): IommuInstance {
    const instance = this.#byProvider.get(provider);
    if (instance === undefined) {
      throw new LabError('EPROBE_DEFER', `${device} waits for the IOMMU "${provider}"`, { device, provider });
    }
    return instance;
  }
}
