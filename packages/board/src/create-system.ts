/**
 * Boots a kernel on a SoC's hardware, both from its data: with `hardware.ts` the one place where the concrete classes
 * of all layers meet.
 *
 * Masters are put on the bus before the IOMMUs they sit behind, as a platform's device table does; their probes are
 * deferred until their IOMMUs have registered.
 */
import { MsmIommuDriver } from '@iommu-lab/backend-msm';
import { DmaLayer } from '@iommu-lab/dma-mapping';
import { Iommu } from '@iommu-lab/iommu-core';
import { FrameAllocator, KernelTableMemory } from '@iommu-lab/kernel-mm';
import { LabError, type LabEvent, World } from '@iommu-lab/machine';
import { gfx2dDriver, ijpegDriver, mdpDriver, rotDriver, vfeDriver } from '@iommu-lab/media-devices/drivers';
import { MsmBus, MsmDevice, PLATFORM_DATA, type WiringRow } from '@iommu-lab/msm-bus';
import { WINDOW_BYTES as SMMU_WINDOW_BYTES } from '@iommu-lab/smmu-hw/regs';
import { boardByName } from './boards.ts';
import { contextRow, createHardware } from './hardware.ts';
import type { OutsideWorld } from './models.ts';
import type { MasterRow, SmmuRow, SocDescription } from './soc.ts';
import { System } from './system.ts';
import { testCard } from './test-card.ts';

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
  const hardware = createHardware(world, soc, tlbEntries, outside);
  const { memory, cache, mmio, interrupts, clocks } = hardware;

  const frames = new FrameAllocator(world, soc.ram);
  const tables = new KernelTableMemory(world, frames, cache.cached, cache, { coherent: coherentWalk });
  const bus = new MsmBus(
    { world, mmio, interrupts },
    soc.masters.map((row) => wiringOf(soc, row)),
    clocks,
  );
  const iommu = new Iommu(world);
  const dma = new DmaLayer(world, { iommu, frames, memory: cache, maintenance: cache });
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
  const system = new System({ soc, world, ...hardware, frames, tables, bus, iommu, dma, smmuDriver });

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
