/** Runs a program on one way, from a new machine to one on which nothing is left. */
import { makeSystem, type TestSystem } from '../support/system.ts';
import { mustEqual } from '../support/must-equal.ts';
import { Driver } from './driver.ts';
import type { Transcript } from './looks.ts';
import type { Step, StepKind } from './steps.ts';
import type { Way } from './ways.ts';

export interface Outcome {
  readonly seen: Transcript;
  /** Kinds of steps that did something. */
  readonly done: ReadonlySet<StepKind>;
}

/**
 * @param isPolite nobody does what the API only tolerates (a look at what the device has, an access beside or after a mapping),
 * and the checker watches
 * @throws Error at the first byte that is wrong, and when something is left at the end or reported
 */
export function runProgram(
  way: Way,
  seed: number,
  steps: readonly Step[],
  isPolite: boolean = false,
): Outcome {
  const system = makeSystem({ ...way, seed, moreFramesBytes: 0x20000, debug: isPolite });
  if (way.parameters !== undefined) system.dma.setParameters(way.parameters);
  const free = system.frames.freeBytes;
  const driver = new Driver(system, way, isPolite);
  driver.run(steps);
  expectNothingLeft(system, free);
  system.debug?.expectNoReports();
  return { seen: driver.looks.seen, done: driver.done };
}

const LOSSES: ReadonlySet<string> = new Set(['dma:iova_quarantined', 'dma:pool_corruption', 'dma:pool_busy']);

/** The driver has given everything back. */
function expectNothingLeft(system: TestSystem, freeBytes: number): void {
  const { dma, layer, device, iommu, pool, frames, events } = system;
  layer.flush(device);
  const { usedSlots = 0, mappings = 0, transientPools = 0 } = pool?.occupancy ?? {};
  mustEqual(
    {
      mapped: [dma.mappedBytes, dma.reservedBytes],
      iovas: layer.iovaReport(device)?.allocatedBytes ?? 0,
      domain: iommu.defaultDomainOf(device)?.mappings() ?? [],
      bounced: [usedSlots, mappings, transientPools],
      frames: frames.freeBytes,
      lost: events.filter(({ name }) => LOSSES.has(name)),
    },
    { mapped: [0, 0], iovas: 0, domain: [], bounced: [0, 0, 0], frames: freeBytes, lost: [] },
  );
}
