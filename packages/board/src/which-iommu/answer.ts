/** One answer to the question of July 2010, as a caller's code over it. */
import type { Device } from '@iommu-lab/driver-core';
import type { Lab } from './lab.ts';

/** What the caller believes about the wiring. Each answer asks for one of these, or for none. */
export interface Said {
  /** What to call the set of mappings, for reports. */
  readonly name: string;
  /** Key of the IOMMU. */
  readonly provider: string;
  /** Name of the bus. */
  readonly bus: string;
  /** A device that the mappings are for. */
  readonly device: Device;
  /** Names of the contexts that the first device is wired to. */
  readonly contexts: readonly string[];
}

/** One buffer, as a piece of memory and as devices see it. */
export interface Buffer {
  readonly address: number;
  readonly sizeBytes: number;
  /** Where it is to stand for devices; where the callee chooses, it does not count. */
  readonly iova: number;
}

/** A set of mappings, and devices that use it. Every method throws LabError, as the API under it says. */
export interface MappingSet {
  attach(device: Device): void;
  /** @returns where devices find the buffer */
  map(buffer: Buffer): number;
  unmap(buffer: Buffer): void;
  /** Takes all devices off, and everything down. Never fails; harmless twice. */
  close(): void;
  /** Hardware tables that hold the mappings now. */
  tables(): readonly { readonly tableBytes: number }[];
}

export interface Answer {
  readonly name: AnswerName;
  /** Who says which IOMMU is meant. */
  readonly whoSays: string;
  /** File of the caller's code, in `answers/`. */
  readonly file: AnswerFile;
  /** A set with nothing in it. @throws LabError, KernelBug as the API under it says */
  open(lab: Lab, said: Said): MappingSet;
}

export type AnswerName =
  'named' | 'bound-later' | 'at-attach' | 'per-bus' | 'per-device' | 'bus-dma-ops' | 'linux-2010';

export type AnswerFile =
  | 'named.ts'
  | 'bound-later.ts'
  | 'at-attach.ts'
  | 'per-bus.ts'
  | 'per-device.ts'
  | 'bus-dma-ops.ts'
  | 'linux-2010.ts';
