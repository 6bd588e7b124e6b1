import type { MmioPort, World } from '@iommu-lab/machine';
import type { InterruptController } from './interrupt-controller.ts';

/**
 * What a bus gives to the drivers of its devices. A guest's bus gives trapped MMIO and virtual interrupts, and the
 * driver cannot tell.
 */
export interface BusServices {
  readonly world: World;
  readonly mmio: MmioPort;
  readonly interrupts: InterruptController;
}
