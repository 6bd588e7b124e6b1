/** A SoC's hardware from its data: memory, cache, register windows, interrupt lines, clocks, IOMMUs and masters. */
import { InterruptController } from '@iommu-lab/driver-core';
import {
  type BusPort,
  CpuCache,
  InterruptLine,
  LabError,
  MmioBus,
  PhysicalMemory,
  type World,
} from '@iommu-lab/machine';
import { ClockTree, type MsmIommuContext } from '@iommu-lab/msm-bus';
import { MsmSmmu } from '@iommu-lab/smmu-hw';
import { WINDOW_BYTES as SMMU_WINDOW_BYTES } from '@iommu-lab/smmu-hw/regs';
import { createModel, type OutsideWorld } from './models.ts';
import type { MasterRow, SmmuRow, SocDescription } from './soc.ts';

/** What the kernel finds when it boots. */
export interface Hardware {
  readonly memory: PhysicalMemory;
  readonly cache: CpuCache;
  readonly mmio: MmioBus;
  readonly interrupts: InterruptController;
  readonly clocks: ClockTree;
  /** By provider, in the SoC's order. */
  readonly smmus: ReadonlyMap<string, MsmSmmu>;
}

/**
 * @param tlbEntries of each IOMMU
 * @param watch what a master of that name is wired to in place of the port
 * @throws LabError EINVAL for a master whose streams name no context, or contexts of several IOMMUs
 */
export function createHardware(
  world: World,
  soc: SocDescription,
  tlbEntries: number,
  outside: OutsideWorld,
  watch: (port: BusPort, master: string) => BusPort,
): Hardware {
  const memory = new PhysicalMemory(soc.ram);
  const smmus = new Map<string, MsmSmmu>();
  const hardware: Hardware = {
    memory,
    cache: new CpuCache(world, memory, soc.cache),
    mmio: new MmioBus(world),
    interrupts: new InterruptController(world),
    clocks: new ClockTree(world, soc.clocks),
    smmus,
  };
  for (const row of soc.smmus) smmus.set(row.provider, createSmmu(world, row, tlbEntries, hardware));
  for (const row of soc.masters) createMaster(world, row, soc, hardware, outside, watch);
  return hardware;
}

/** The row of a context by its name. @throws LabError EINVAL, naming `master`, when no IOMMU has it */
export function contextRow(soc: SocDescription, master: string, name: string): MsmIommuContext {
  for (const smmu of soc.smmus) {
    const found = smmu.contexts.find((c) => c.context === name);
    if (found !== undefined) return found;
  }
  throw new LabError('EINVAL', `${master} names a context "${name}" that no IOMMU has`, { master, name });
}

function createSmmu(world: World, row: SmmuRow, tlbEntries: number, hardware: Hardware): MsmSmmu {
  const { memory, cache, mmio, interrupts, clocks } = hardware;
  const secureLine = new InterruptLine(`${row.provider} secure`);
  const nonSecureLine = new InterruptLine(`${row.provider} non-secure`);
  const smmu = new MsmSmmu(
    world,
    { name: row.provider, contextBanks: row.contextBanks, tlbEntries },
    { memory, snooped: cache.snooped, secureLine, nonSecureLine },
  );
  interrupts.connect(row.secureIrq, secureLine);
  interrupts.connect(row.nonSecureIrq, nonSecureLine);
  const gates = [row.interfaceClock, row.coreClock]
    .filter((name) => name !== undefined)
    .map((name) => clocks.get(name));
  mmio.addWindow({
    name: `smmu ${row.provider}`,
    base: row.base,
    sizeBytes: SMMU_WINDOW_BYTES,
    device: smmu,
    isClocked: () => gates.every((gate) => gate.isEnabled),
  });
  return smmu;
}

/** A model has one port: all its streams go through one IOMMU instance. */
function createMaster(
  world: World,
  row: MasterRow,
  soc: SocDescription,
  { interrupts, mmio, smmus }: Hardware,
  outside: OutsideWorld,
  watch: (port: BusPort, master: string) => BusPort,
): void {
  const providers = new Set(
    Object.values(row.streams).map((wire) => contextRow(soc, row.name, wire.context).provider),
  );
  const [provider] = providers;
  const port = provider === undefined ? undefined : smmus.get(provider);
  if (port === undefined || providers.size > 1) {
    throw new LabError('EINVAL', `the streams of ${row.name} need one IOMMU`, { providers: [...providers] });
  }
  const line = new InterruptLine(row.name);
  const model = createModel(world, row, watch(port, row.name), line, outside);
  interrupts.connect(row.irq, line);
  mmio.addWindow({ name: row.name, ...row.registers, device: model });
}
