/** Every style over one core, to play the same job through each. */
import type { Iommu } from '../iommu.ts';
import { AttachBinding } from './attach-binding.ts';
import { BusBinding } from './bus-binding.ts';
import { DeviceBinding } from './device-binding.ts';
import { LateBinding } from './late-binding.ts';
import { NamedBinding } from './named-binding.ts';

/** In the order they were proposed or came. */
export interface BindingStyles {
  readonly named: NamedBinding;
  readonly boundLater: LateBinding;
  readonly atAttach: AttachBinding;
  readonly perBus: BusBinding;
  readonly perDevice: DeviceBinding;
}

/** One of each; `Object.values` gives them as `BindingStyle`s. No bus has a kind of IOMMU yet. */
export function createBindingStyles(iommu: Iommu): BindingStyles {
  return {
    named: new NamedBinding(iommu),
    boundLater: new LateBinding(iommu),
    atAttach: new AttachBinding(iommu),
    perBus: new BusBinding(iommu),
    perDevice: new DeviceBinding(iommu),
  };
}
