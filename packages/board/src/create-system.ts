/**
 * Boots a kernel on a SoC's hardware, both from its data: with `hardware.ts` the one place where the concrete classes
 * of all layers meet.
 *
 * Masters are put on the bus before the IOMMUs they sit behind, as a platform's device table does; their probes are
 * deferred until their IOMMUs have registered.
 */
import { MsmIommuDriver } from '@iommu-lab/backend-msm';
import { BouncePool, DmaDebug, DmaLayer } from '@iommu-lab/dma-mapping';
import { Iommu } from '@iommu-lab/iommu-core';
import { FrameAllocator, KernelTableMemory } from '@iommu-lab/kernel-mm';
import { type CpuCache, LabError, type LabEvent, World } from '@iommu-lab/machine';
import { gfx2dDriver, ijpegDriver, mdpDriver, rotDriver, vfeDriver } from '@iommu-lab/media-devices/drivers';
import { MsmBus, MsmDevice, PLATFORM_DATA, type WiringRow } from '@iommu-lab/msm-bus';
import { WINDOW_BYTES as SMMU_WINDOW_BYTES } from '@iommu-lab/smmu-hw/regs';
import { boardByName } from './boards.ts';
import type { DmaSettings } from './dma-settings.ts';
import { contextRow, createHardware } from './hardware.ts';
import { isMappedByDmaApi } from './mapped-by-dma-api.ts';
import type { OutsideWorld } from './models.ts';
import type { MasterRow, SmmuRow, SocDescription } from './soc.ts';
import { System } from './system.ts';
import { testCard } from './test-card.ts';

/** Bytes of the bounce pool. */
const DEFAULT_BOUNCE_BYTES = 4 << 20;

/** What a system is made from; all of it has a default. */
export interface SystemOptions {
  /** A board's name, or a description of one's own; `msm8x60` unless given. */
  readonly board?: string | SocDescription;
  /** Scatters page frames and times what the cache does on its own; 1 unless given. */
  readonly seed?: number;
  /** The scene in front of the camera and the display's viewer; a test card and nobody unless given. */
  readonly outside?: Partial<OutsideWorld>;
  /** Table walkers see the CPU's cache; false unless given. */
  readonly coherentWalk?: boolean;
  /** TLB entries of each IOMMU; 64 unless given. */
  readonly tlbEntries?: number;
  /** How the kernel does DMA; strict, and without bounce buffers, unless given. */
  readonly dma?: DmaSettings;
  /** Hears of every event from the first on. */
  readonly onEvent?: (event: LabEvent) => void;
}

/**
 * Builds the hardware, boots the kernel on it, and runs until every device has its driver.
 * @throws LabError ENODEV for an unknown board, EINVAL for data that does not fit together.
 */
export function createSystem(options: SystemOptions = {}): System {
  const { board = 'msm8x60', seed = 1, coherentWalk = false, tlbEntries = 64 } = options;
  const soc = typeof board === 'string' ? boardByName(board) : board;
  const world = new World({ seed });
  if (options.onEvent !== undefined) world.events.subscribe(options.onEvent);

  const outside = { sensor: stillSensor(), panel: { show: () => undefined }, ...options.outside };
  const { dma: settings = {} } = options;
  const dmaDebug =
    settings.debug === true ? new DmaDebug(world, { lineBytes: soc.cache.lineBytes }) : undefined;
  const hardware = createHardware(world, soc, tlbEntries, outside, (port, master) =>
    dmaDebug === undefined
      ? port
      : dmaDebug.watchBus(port, () =>
          bus.devices.find((device) => device.name === master && isMappedByDmaApi(iommu, device)),
        ),
  );
  const { memory, cache, mmio, interrupts, clocks } = hardware;

  const frames = new FrameAllocator(world, soc.ram);
  const tables = new KernelTableMemory(world, frames, cache.cached, cache, { coherent: coherentWalk });
  const bus = new MsmBus(
    { world, mmio, interrupts },
    soc.masters.map((row) => wiringOf(soc, row)),
    clocks,
  );
  const iommu = new Iommu(world);
  const bouncePool = createBouncePool(world, frames, cache, settings);
  const dma = new DmaLayer(world, {
    iommu,
    frames,
    memory: cache,
    maintenance: cache,
    firstRamAddress: Math.min(...soc.ram.map(({ base }) => base)),
    lastRamAddress: Math.max(...soc.ram.map(({ base, sizeBytes }) => base + sizeBytes - 1)),
    invalidation: settings.invalidation ?? 'strict',
    forceBounce: () => settings.bounce === 'forced',
    ...(bouncePool && { bounce: bouncePool }),
    ...(dmaDebug && { debug: dmaDebug }),
  });
  bus.onConfigure(iommu);
  bus.onConfigure(dma);
  // Not every IOMMU comes by a bind on this bus.
  iommu.onInstanceRegistered(() => bus.retryDeferred());
  const smmuDriver = new MsmIommuDriver({
    iommu,
    tables,
    walkerMemory: coherentWalk ? cache.snooped : memory,
    config: { coherentWalk },
  });
  const system = new System({
    soc,
    world,
    ...hardware,
    frames,
    tables,
    bus,
    iommu,
    dma,
    bouncePool,
    dmaDebug,
    smmuDriver,
  });

  for (const driver of [vfeDriver, rotDriver, mdpDriver, gfx2dDriver, ijpegDriver]) bus.addDriver(driver);
  bus.addDriver(smmuDriver);
  for (const row of soc.masters) bus.addDevice(masterDevice(row));
  for (const row of soc.smmus) bus.addDevice(smmuDevice(row));
  world.clock.run();
  const unbound = bus.devices.find((device) => device.driver === undefined);
  if (unbound !== undefined) {
    const reason =
      bus.deferred().find(({ device }) => device === unbound)?.reason ?? 'none wants it, or its probe failed';
    throw new LabError('EINVAL', `${unbound.name} has no driver: ${reason}`, { board: soc.name });
  }
  return system;
}

function createBouncePool(
  world: World,
  frames: FrameAllocator,
  cache: CpuCache,
  { bounce = 'none', bounceBytes = DEFAULT_BOUNCE_BYTES }: DmaSettings,
): BouncePool | undefined {
  if (bounce === 'none') return undefined;
  return new BouncePool(world, frames, cache.cached, { sizeBytes: bounceBytes });
}

function wiringOf(soc: SocDescription, row: MasterRow): WiringRow {
  return { device: row.name, contexts: row.contexts.map((name) => contextRow(soc, row.name, name)) };
}

function masterDevice(row: MasterRow): MsmDevice {
  return new MsmDevice(row.name, {
    compatible: row.compatible,
    resources: [
      { kind: 'memory', name: 'regs', start: row.registers.base, sizeBytes: row.registers.sizeBytes },
      { kind: 'interrupt', name: 'irq', irq: row.irq },
    ],
  });
}

function smmuDevice(row: SmmuRow): MsmDevice {
  const device = new MsmDevice(`msm_iommu.${row.provider}`, {
    compatible: 'msm_iommu',
    resources: [
      { kind: 'memory', name: 'physbase', start: row.base, sizeBytes: SMMU_WINDOW_BYTES },
      { kind: 'interrupt', name: 'secure_irq', irq: row.secureIrq },
      { kind: 'interrupt', name: 'nonsecure_irq', irq: row.nonSecureIrq },
    ],
  });
  const { provider, contexts, contextBanks, interfaceClock, coreClock } = row;
  device.set(PLATFORM_DATA, {
    provider,
    contexts,
    contextBanks,
    interfaceClock,
    ...(coreClock === undefined ? {} : { coreClock }),
  });
  return device;
}

/** A camera that looks at a test card. */
function stillSensor(): OutsideWorld['sensor'] {
  const { width, height, pixels } = testCard();
  return { width, height, frame: () => pixels };
}
