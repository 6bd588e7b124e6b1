/** What tests of devices in processes share. */
import type { Device } from '@iommu-lab/driver-core';
import { bench, type Bench, type FakeIommu, type FakeOptions, rotator } from './fake-iommu.ts';
import { FakeProcess, FORMAT } from './fake-process.ts';

export interface ProcessBench extends Bench {
  readonly rot: Device;
  /** Logs into the calls of the fake, so that the order of both shows. */
  readonly app: FakeProcess;
}

/** A rotator behind an IOMMU that walks the tables of processes, and a process. */
export function startProcess(options: FakeOptions = {}): ProcessBench {
  const made = bench({ capabilities: { processFormats: [FORMAT] }, ...options });
  return { ...made, rot: rotator(made), app: new FakeProcess('app', made.fake.calls) };
}

/** What the endpoints are on. */
export function kindsOf(fake: FakeIommu): readonly string[] {
  return [...fake.targets.values()].map((t) => t.kind);
}
