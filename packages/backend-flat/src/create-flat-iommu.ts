/** A flat IOMMU on a bus of its own, ready to use: for tests, examples and small systems. */
import { Bus, Device, InterruptController, type Endpoint } from '@iommu-lab/driver-core';
import { Iommu, type IommuInstance } from '@iommu-lab/iommu-core';
import { assert, InterruptLine, LabError, type MemoryPort, MmioBus, type World } from '@iommu-lab/machine';
import { FAULT_RESOURCE, FLAT_COMPATIBLE, FlatIommuDriver, REGISTERS_RESOURCE } from './driver.ts';
import { FlatHardware } from './flat-hw.ts';
import { contextName } from './instance.ts';
import { WINDOW_BYTES } from './registers.ts';
import type { TableMemory } from './table-memory.ts';

export interface FlatIommuOptions {
  readonly world: World;
  /** Memory as masters and the walker see it. */
  readonly memory: MemoryPort;
  /** Where page tables go: a `ReservedTableMemory`, or whoever owns the page frames. */
  readonly tables: TableMemory;
  /** The core it registers with; one of its own unless given. */
  readonly iommu?: Iommu;
  /** Key by which endpoints name it; `flat` unless given. */
  readonly provider?: string;
  /** Streams it can tell apart; 8 unless given. */
  readonly streams?: number;
  /** Entries it caches; 16 unless given. */
  readonly cachedEntries?: number;
  /** An interrupt controller of the system; one of its own unless given. */
  readonly interrupts?: InterruptController;
  /** Its interrupt number there; 32 unless given. */
  readonly irq?: number;
  /** An MMIO bus of the system; one of its own unless given. */
  readonly mmio?: MmioBus;
  /** Where its registers stand there; 0x0f000000 unless given. */
  readonly registerBase?: number;
}

export interface FlatIommu {
  readonly iommu: Iommu;
  readonly instance: IommuInstance;
  /** What masters are wired to: it tells them apart by stream id. */
  readonly hardware: FlatHardware;
  /** The bus device that stands for the IOMMU. */
  readonly device: Device;
  /** The endpoint of a device that issues with `stream`. @throws LabError ENODEV for a stream there is not */
  endpoint(stream: number): Endpoint;
  /** Unbinds the driver. @throws LabError EBUSY while a configured device sits behind the IOMMU */
  remove(): void;
}

/**
 * Makes the hardware, wires it, and lets the driver probe it.
 * @throws LabError EEXIST when the provider has an IOMMU, EINVAL, EBUSY on what does not fit the given buses: nothing has
 * changed then; ENOMEM when the driver does not come up: the hardware is there then, as on a board
 */
export function createFlatIommu(options: FlatIommuOptions): FlatIommu {
  const { world, memory, tables } = options;
  const iommu = options.iommu ?? new Iommu(world);
  const interrupts = options.interrupts ?? new InterruptController(world);
  const mmio = options.mmio ?? new MmioBus(world);
  const provider = options.provider ?? 'flat';
  const streams = options.streams ?? 8;
  const irq = options.irq ?? 32;
  const base = options.registerBase ?? 0x0f00_0000;
  // Looked at first: what is wired stays wired.
  if (iommu.instances.some((i) => i.provider === provider)) {
    throw new LabError('EEXIST', `there is an IOMMU "${provider}"`, { provider });
  }

  const faultLine = new InterruptLine(`${provider} fault`);
  const hardware = new FlatHardware(
    { memory, faultLine },
    { streams, cachedEntries: options.cachedEntries ?? 16 },
  );
  mmio.addWindow({ name: provider, base, sizeBytes: WINDOW_BYTES, device: hardware });
  interrupts.connect(irq, faultLine);

  const bus = new Bus(`${provider}-bus`, { world, mmio, interrupts });
  const device = new Device(provider, {
    compatible: FLAT_COMPATIBLE,
    resources: [
      { kind: 'memory', name: REGISTERS_RESOURCE, start: base, sizeBytes: WINDOW_BYTES },
      { kind: 'interrupt', name: FAULT_RESOURCE, irq },
    ],
  });
  bus.addDevice(device);
  bus.bind(device, new FlatIommuDriver(iommu, tables));
  const instance = iommu.instances.find((i) => i.provider === provider);
  assert(instance !== undefined, 'the driver has registered its instance');

  return {
    iommu,
    instance,
    hardware,
    device,
    endpoint(stream) {
      if (!(Number.isInteger(stream) && stream >= 0 && stream < streams)) {
        throw new LabError('ENODEV', `${instance.name} has no stream ${stream}`, { stream });
      }
      return { provider, context: contextName(stream), streamIds: [stream] };
    },
    remove() {
      const users = iommu.groups
        .flatMap((g) => g.devices)
        .filter((d) => d.endpoints.some((e) => e.provider === provider));
      if (users.length > 0) {
        throw new LabError('EBUSY', `${instance.name} serves ${users.map((d) => d.name).join(', ')}`, {
          provider,
        });
      }
      bus.unbind(device);
    },
  };
}
