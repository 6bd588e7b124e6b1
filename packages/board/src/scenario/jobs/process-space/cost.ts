/** What a job costs: read from the hardware, the event log and the clock, before and after. */
import type { Device } from '@iommu-lab/driver-core';
import type { LabEvent } from '@iommu-lab/machine';
import type { System } from '../../../system.ts';
import type { UserProgram } from './user-program.ts';

export interface Cost {
  /** Faults of the device. */
  readonly faults: number;
  /** Pages that came in, whoever touched them. */
  readonly pagesBroughtIn: number;
  /** Most bytes of the process that had to stay in place. */
  readonly pinnedBytes: number;
  readonly tlbMisses: number;
  readonly walks: number;
  /** Writes to invalidation registers. */
  readonly invalidations: number;
  /** Most bytes of page tables the device had besides the process's. */
  readonly tableBytes: number;
  /** Calls of map and unmap of the DMA API. */
  readonly mapCalls: number;
  readonly unmapCalls: number;
  /** Bytes copied between the process's memory and the kernel's. */
  readonly copiedBytes: number;
  readonly timeNs: number;
}

const BROUGHT_IN: readonly unknown[] = ['zeroed', 'restored'];
/** Events at which the device is on the domain it works by. */
const WHILE_WORKING: readonly string[] = ['mm:fault', 'mm:pin', 'iommu:map'];

/** Runs `work` and says what it cost. @throws what `work` throws */
export function costOf(system: System, device: Device, program: UserProgram, work: () => void): Cost {
  const { world, iommu } = system;
  const { statistics } = system.smmu(device.endpoints[0]?.provider ?? '');
  const before = { ...statistics.snapshot(), walks: statistics.walks };
  const copiedBefore = program.copiedBytes;
  const startNs = world.clock.now;
  const counts = { pagesBroughtIn: 0, pinnedBytes: 0, tableBytes: 0, mapCalls: 0, unmapCalls: 0 };
  const look = (): void => {
    counts.pinnedBytes = Math.max(counts.pinnedBytes, program.process.pinnedBytes);
    counts.tableBytes = Math.max(counts.tableBytes, iommu.domainOf(device)?.tableBytes ?? 0);
  };
  const end = world.events.subscribe(({ name, fields }: LabEvent) => {
    if (name === 'mm:fault' && BROUGHT_IN.includes(fields['outcome'])) counts.pagesBroughtIn++;
    if (name === 'dma:map_sg') counts.mapCalls++;
    if (name === 'dma:unmap_sg') counts.unmapCalls++;
    if (WHILE_WORKING.includes(name)) look();
  });
  try {
    work();
  } finally {
    end();
  }
  return {
    ...counts,
    faults: statistics.faults - before.faults,
    tlbMisses: statistics.misses - before.misses,
    walks: statistics.walks - before.walks,
    invalidations: statistics.invalidations - before.invalidations,
    copiedBytes: program.copiedBytes - copiedBefore,
    timeNs: world.clock.now - startNs,
  };
}
