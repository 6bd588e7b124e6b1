/** What a step of a scenario is given, and what it leaves. */
import type { Device } from '@iommu-lab/driver-core';
import type { DmaSettings } from '../../dma-settings.ts';
import type { Picture } from '../../picture.ts';
import type { System } from '../../system.ts';
import type { Stage } from '../stage.ts';

/** Something a run leaves besides its report. Names are file names, and unique in a run. */
export type Artifact =
  | { readonly name: string; readonly kind: 'picture'; readonly picture: Picture }
  | { readonly name: string; readonly kind: 'bytes'; readonly bytes: Uint8Array }
  | { readonly name: string; readonly kind: 'text'; readonly text: string };

/** What a job works on and with. */
export interface JobContext {
  readonly system: System;
  /** What the run was seeded with. */
  readonly seed: number;
  /** A fresh system as the run's, but for how it does DMA. Its events are not the run's. */
  readonly makeSystem: (dma: DmaSettings) => System;
  /** The scene and the screen. */
  readonly stage: Stage;
  /** Pictures a pipeline carries. */
  readonly frames: number;
  /** Number of a frame that was shown, from 0 over the whole run. */
  readonly countFrame: () => number;
  /** Has `giveBack` called when the step has ended or thrown, the latest first: the next step runs on the same system. */
  readonly atEnd: (giveBack: () => void) => void;
}

/** A step's part of the report, and its artifacts. */
export interface JobOutcome {
  readonly title: string;
  readonly results: readonly string[];
  readonly problems: readonly string[];
  readonly artifacts: readonly Artifact[];
}

/** A step as it runs: it yields what it is about to do, in a few words, and returns what came of it. */
export type Job = Generator<string, JobOutcome, void>;

/**
 * Starts a job of `device` and runs until it has ended. @returns its result
 * @throws LabError what `start` throws; ETIMEDOUT when it hangs, with the job ended and its mappings released
 */
export function finish<Result>(
  system: System,
  device: Device,
  what: string,
  start: (done: (result: Result) => void) => void,
): Result {
  const results: Result[] = [];
  start((result) => results.push(result));
  try {
    system.runUntil(() => results.length > 0, `${what} does not end`);
  } catch (error) {
    restart(device);
    throw error;
  }
  return results[0] as Result;
}

/** Takes the device's driver away and puts it back: a job or an access that hangs ends. @throws LabError what probing throws */
export function restart(device: Device): void {
  const { bus, driver } = device;
  if (bus === undefined || driver === undefined) return;
  bus.unbind(device);
  bus.bind(device, driver);
}
