/**
 * The port to a process: what a device needs that works in its address space (the kernel's shared virtual addressing).
 * Whoever owns processes provides it; the tables are the CPU's, and nobody but the process writes them.
 */
import type { PhysAddr } from '@iommu-lab/machine';
import type { WalkStep } from './driver-port.ts';

/** The address space of one process. */
export interface ProcessSpace {
  /** For people: `camera-app`. */
  readonly name: string;
  /** Format of its tables, as `IommuCapabilities.processFormats` names it: `armv7-short`. */
  readonly tableFormat: string;
  /** Physical address of the first level. */
  readonly tableRoot: PhysAddr;
  /** What the CPU's registers say the attributes in its tables mean: `PRRR`, `NMRR`, `AFE` for `armv7-short`. */
  readonly attributes: Readonly<Record<string, number>>;
  /** The user's part is [0, userEnd); what lies above is the kernel's, and no device may reach it. */
  readonly userEnd: number;
  /** Whether the process has ended; its tables are gone then. */
  readonly hasExited: boolean;

  /** Where an address leads by the tables, or undefined. */
  lookup(address: number): PhysAddr | undefined;

  /** The walk for an address, for an explanation. */
  walk(address: number): readonly WalkStep[];

  /**
   * An access found no page, or one that refuses it: brings it in as a fault of the CPU would (the kernel's
   * handle_mm_fault). `execute` is an instruction fetch. @returns whether the access succeeds when it is made again. Never throws: without memory it is false.
   */
  handleFault(address: number, direction: 'read' | 'write' | 'execute'): boolean;

  /** Calls `listener` after translations have gone and before their memory is anybody else's. @returns ends it */
  onUnmap(listener: (start: number, sizeBytes: number) => void): () => void;

  /**
   * Calls `listener` once, when the process ends, while its tables and pages are still there; also one that comes while
   * listeners are called. @returns ends it
   */
  onExit(listener: () => void): () => void;
}
