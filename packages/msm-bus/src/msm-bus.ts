/**
 * The SoC's bus. It is the one that knows the wiring, so it is the one that writes it down: when it configures a
 * device it fills in who stands behind it, before any other layer or driver looks.
 */
import { Bus, type BusServices, type Device, type Endpoint } from '@iommu-lab/driver-core';
import { LabError } from '@iommu-lab/machine';
import type { ClockTree } from './clock-gate.ts';
import type { MsmIommuContext, WiringRow } from './iommu-context.ts';
import { MsmDevice } from './msm-device.ts';

/** Machine ids are five bits wide: M2VCBR has 32 entries. */
const LAST_MACHINE_ID = 31;

export class MsmBus extends Bus {
  readonly clocks: ClockTree;
  readonly #wiring = new Map<string, WiringRow>();
  readonly #contexts = new Map<string, MsmIommuContext>();

  /**
   * @param wiring rows of the SoC's table; devices without a row have no IOMMU
   * @throws LabError EEXIST when a device has two rows or a context name stands for two different contexts, EINVAL on
   * a machine id outside 0..31
   */
  constructor(services: BusServices, wiring: readonly WiringRow[], clocks: ClockTree) {
    super('msm', services);
    this.clocks = clocks;
    for (const row of wiring) this.wire(row);
    this.onConfigure({ configure: (device) => this.#describe(device), cleanup: () => undefined });
  }

  /**
   * The context of that name, or undefined: the kernel's msm_iommu_get_ctx, which finds a context by the name of its
   * use and answers NULL when there is none.
   */
  context(name: string): MsmIommuContext | undefined {
    return this.#contexts.get(name);
  }

  /** Takes the device off; what the bus wrote on it goes with it. */
  override removeDevice(device: Device): void {
    const isMember = device.bus === this;
    super.removeDevice(device);
    if (!isMember) return;
    device.endpoints = [];
    device.reservedRegions = [];
    if (device instanceof MsmDevice) device.iommu = [];
  }

  /**
   * Adds a row to the wiring, for a device that is put on the bus later.
   * @returns takes the row back, for a device that does not come after all; the contexts' names stay known
   * @throws as the constructor
   */
  wire(row: WiringRow): () => void {
    if (this.#wiring.has(row.device)) {
      throw new LabError('EEXIST', `two wiring rows for ${row.device}`, { device: row.device });
    }
    // Apart until all are known to be right: a row that is refused leaves no name behind.
    const named = new Map<string, MsmIommuContext>();
    for (const context of row.contexts) {
      const wrongId = context.machineIds.find(
        (id) => !Number.isInteger(id) || id < 0 || id > LAST_MACHINE_ID,
      );
      if (wrongId !== undefined) {
        throw new LabError('EINVAL', `${context.context}: machine id ${wrongId} is not one of 0..31`, {
          context: context.context,
        });
      }
      const other = named.get(context.context) ?? this.#contexts.get(context.context);
      if (other !== undefined && (other.provider !== context.provider || other.bank !== context.bank)) {
        throw new LabError('EEXIST', `the name ${context.context} stands for two contexts`, {
          context: context.context,
        });
      }
      named.set(context.context, context);
    }
    for (const [name, context] of named) this.#contexts.set(name, context);
    this.#wiring.set(row.device, row);
    return () => {
      this.#wiring.delete(row.device);
    };
  }

  /** Wires do not come off with a driver: what is written here stays while the device is on the bus. */
  #describe(device: Device): void {
    const row = this.#wiring.get(device.name);
    if (row === undefined) return;
    const { contexts, reservedRegions = [] } = row;
    device.endpoints = contexts.map(toEndpoint);
    device.reservedRegions = reservedRegions;
    if (device instanceof MsmDevice) device.iommu = contexts;
  }
}

function toEndpoint(context: MsmIommuContext): Endpoint {
  return { provider: context.provider, context: context.context, streamIds: context.machineIds };
}
