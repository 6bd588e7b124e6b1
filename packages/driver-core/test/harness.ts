import { type LabEvent, MmioBus, World } from '@iommu-lab/machine';
import { Bus, type ConfigureHook, type Device, type Driver, InterruptController } from '../src/index.ts';

export interface Rig {
  readonly world: World;
  readonly bus: Bus;
  /** What drivers and hooks did, in order: `probe a`, `configure iommu a`. */
  readonly calls: string[];
  readonly events: LabEvent[];
}

export function makeRig(): Rig {
  const world = new World();
  const events: LabEvent[] = [];
  world.events.subscribe((event) => events.push(event));
  const services = { world, mmio: new MmioBus(world), interrupts: new InterruptController(world) };
  return { world, bus: new Bus('soc', services), calls: [], events };
}

/** A driver for devices of one compatible string that writes down what happens to it. */
export function recordingDriver(
  rig: Rig,
  compatible: string,
  options: { readonly name?: string; readonly probe?: (device: Device) => void } = {},
): Driver {
  const name = options.name ?? compatible;
  return {
    name,
    matches: (device) => device.compatible === compatible,
    probe: (device) => {
      rig.calls.push(`${name} probe ${device.name}`);
      options.probe?.(device);
    },
    remove: (device) => {
      rig.calls.push(`${name} remove ${device.name}`);
    },
  };
}

/** A configure hook that writes down its calls. */
export function recordingHook(rig: Rig, name: string, configure?: (device: Device) => void): ConfigureHook {
  return {
    configure: (device) => {
      rig.calls.push(`${name} configure ${device.name}`);
      configure?.(device);
    },
    cleanup: (device) => {
      rig.calls.push(`${name} cleanup ${device.name}`);
    },
  };
}

export function names(events: readonly LabEvent[]): string[] {
  return events.map((event) => event.name);
}
