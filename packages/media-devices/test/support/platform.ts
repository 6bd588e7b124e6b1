/** A small machine: a CPU with a cache, and all five devices on one bus with their drivers, over the real DMA layer. */
import { Bus, Device, type Driver, InterruptController } from '@iommu-lab/driver-core';
import { DmaLayer, type DmaOps, getDmaOps, type SgEntry } from '@iommu-lab/dma-mapping';
import {
  CpuCache,
  DirectPort,
  InterruptLine,
  type LabEvent,
  MmioBus,
  type MmioDevice,
  PhysicalMemory,
  type PhysAddr,
  physAddr,
  World,
} from '@iommu-lab/machine';
import { gfx2dDriver, ijpegDriver, mdpDriver, rotDriver, vfeDriver } from '../../src/drivers/index.ts';
import {
  createGfx2d,
  createIjpeg,
  createMdp,
  createRot,
  createVfe,
  MEDIA_WINDOW_BYTES,
  type Sensor,
} from '../../src/models/index.ts';
import { GatePort } from './gate-port.ts';
import { PagedDomain } from './paged-domain.ts';
import { noise } from './pictures.ts';

export const SENSOR: Sensor = {
  width: 30,
  height: 50,
  frame: (index: number) => noise(30 * 50 * 4, index + 1),
};
export const DRIVERS: readonly Driver[] = [vfeDriver, rotDriver, mdpDriver, gfx2dDriver, ijpegDriver];

const NAMES = ['vfe', 'rot', 'mdp', 'gfx2d', 'ijpeg'] as const;
type Name = (typeof NAMES)[number];

const RAM = 0x8000_0000;
const RAM_BYTES = 0x20_0000;

export class Platform {
  readonly world: World = new World();
  readonly memory: PhysicalMemory = new PhysicalMemory([{ base: RAM, sizeBytes: RAM_BYTES }]);
  readonly cache: CpuCache = new CpuCache(this.world, this.memory, {
    lineBytes: 32,
    sets: 64,
    ways: 2,
    evictOneIn: 50,
    speculateOneIn: 50,
  });
  readonly mmio: MmioBus = new MmioBus(this.world);
  readonly bus: Bus;
  readonly events: LabEvent[] = [];
  readonly shown: Uint8Array[] = [];
  readonly #dma = new Map<string, DmaOps>();
  readonly #ports: ReadonlyMap<string, GatePort>;
  #nextPage = 0;
  #nextFrame = RAM + 0x18_0000;

  /** @param kind `gathered`: each device in a domain of its own; `direct`: no IOMMU */
  constructor(kind: 'gathered' | 'direct') {
    const { world, memory, cache } = this;
    world.events.subscribe((event) => this.events.push(event));
    const interrupts = new InterruptController(world);
    this.bus = new Bus('soc', { world, mmio: this.mmio, interrupts });
    const domains = new Map(NAMES.map((name) => [name as string, new PagedDomain(memory)]));
    this.#ports = new Map(
      NAMES.map((name) => {
        const domain = kind === 'gathered' ? domains.get(name) : undefined;
        return [name, new GatePort(domain ?? new DirectPort(memory))];
      }),
    );
    const frames = {
      allocate: () => this.#frames(4096),
      allocateContiguous: (sizeBytes: number) => this.#frames(sizeBytes),
      free: () => undefined,
    };
    const iommu = { dmaMappingsOf: (device: Device) => domains.get(device.name) };
    this.bus.onConfigure(new DmaLayer(world, { iommu, frames, memory: cache, maintenance: cache }));
    this.bus.onConfigure({
      configure: (device) => this.#dma.set(device.name, getDmaOps(device)),
      cleanup: () => undefined,
    });
    for (const driver of DRIVERS) this.bus.addDriver(driver);
    NAMES.forEach((name, i) => {
      const line = new InterruptLine(name);
      interrupts.connect(i, line);
      const start = 0x0400_0000 + i * MEDIA_WINDOW_BYTES;
      this.mmio.addWindow({
        name,
        base: start,
        sizeBytes: MEDIA_WINDOW_BYTES,
        device: this.#model(name, line),
      });
      const device = new Device(name, {
        compatible: `qcom,${name}`,
        resources: [
          { kind: 'memory', name: 'regs', start, sizeBytes: MEDIA_WINDOW_BYTES },
          { kind: 'interrupt', name: 'irq', irq: i },
        ],
      });
      if (kind === 'gathered') device.endpoints = [{ provider: name, context: name, streamIds: [0] }];
      this.bus.addDevice(device);
    });
  }

  device(name: Name): Device {
    return this.bus.device(name);
  }

  /** The device's operations, also after its driver has left. */
  dma(name: string): DmaOps {
    return this.#dma.get(name) as DmaOps;
  }

  /** Who has mapped or allocated for a device, in order. */
  sites(name: string): readonly unknown[] {
    return this.events
      .filter((e) => ['dma:map_sg', 'dma:alloc'].includes(e.name) && e.fields['device'] === name)
      .map((e) => e.fields['site']);
  }

  port(name: Name): GatePort {
    return this.#ports.get(name) as GatePort;
  }

  /** Pages for `sizeBytes`, every other one, backwards; or one piece. */
  buffer(sizeBytes: number, isScattered: boolean): readonly SgEntry[] {
    const count = Math.ceil(sizeBytes / 4096);
    const first = this.#nextPage;
    this.#nextPage += 2 * count;
    const page = (n: number) => physAddr(RAM + n * 4096);
    if (!isScattered) return [{ address: page(first), length: count * 4096 }];
    return Array.from({ length: count }, (_, i) => ({
      address: page(first + 2 * (count - 1 - i)),
      length: 4096,
    }));
  }

  write(entries: readonly SgEntry[], bytes: Uint8Array): void {
    let at = 0;
    for (const { address, length } of entries) {
      this.cache.cached.write(address, bytes.subarray(at, at + length));
      at += length;
    }
  }

  read(entries: readonly SgEntry[], sizeBytes: number): Uint8Array {
    const pages = entries.flatMap(({ address, length }) => {
      const page = new Uint8Array(length);
      this.cache.cached.read(address, page);
      return [...page];
    });
    return Uint8Array.from(pages.slice(0, sizeBytes));
  }

  /** Runs everything; then the results that `callback` was called with. */
  results<T>(start: (done: (result: T) => void) => void): readonly T[] {
    const results: T[] = [];
    start((result) => results.push(result));
    this.world.clock.run();
    return results;
  }

  #frames(sizeBytes: number): PhysAddr {
    const frame = physAddr(this.#nextFrame);
    this.#nextFrame += sizeBytes;
    return frame;
  }

  #model(name: Name, line: InterruptLine): MmioDevice {
    const port = this.port(name);
    const { world } = this;
    const panel = { show: (frame: Uint8Array) => void this.shown.push(frame) };
    const streamIds = { source: 0, destination: 1 };
    switch (name) {
      case 'vfe':
        return createVfe(world, { port, line, sensor: SENSOR, streamIds: { imageWrite: 0 } });
      case 'rot':
        return createRot(world, { port, line, streamIds });
      case 'mdp':
        return createMdp(world, { port, line, panel, streamIds: { scan: 0 } });
      case 'gfx2d':
        return createGfx2d(world, { port, line, streamIds });
      case 'ijpeg':
        return createIjpeg(world, { port, line, streamIds });
    }
  }
}
