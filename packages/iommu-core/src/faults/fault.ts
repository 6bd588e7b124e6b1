/** A fault as the core hands it on: the hardware's answer to one access, with the names the core knows. Plain data. */
import type { FaultCause } from '../driver-port.ts';

export interface Fault {
  /** Number of the fault in this system, from 1. */
  readonly id: number;
  /** When it was reported, in model time; the access itself may be older by an interrupt's delay. */
  readonly ns: number;
  /** Name of the device; undefined when no configured device has that context or stream. */
  readonly device: string | undefined;
  readonly provider: string;
  /** Undefined when the access was not routed to a context. */
  readonly context: string | undefined;
  readonly streamId: number;
  readonly iova: number;
  readonly direction: 'read' | 'write';
  /** A read that fetches an instruction; absent where the hardware does not say. */
  readonly isInstruction?: boolean;
  readonly cause: FaultCause;
  readonly isStalled: boolean;
  /** Further faults came before this one was read, and are lost. */
  readonly isMultiple: boolean;
  /** Name of the domain that was current; undefined as for `device`. */
  readonly domain: string | undefined;
  /** The registers it was read from, by the manual's names. */
  readonly registers: Readonly<Record<string, number>>;
}
