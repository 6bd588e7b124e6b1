/** The shape of an explanation: all of it data. `formatExplanation` makes text. */
import type { DomainKind } from '../domain.ts';
import type { WalkStep } from '../driver-port.ts';
import type { Fault } from './fault.ts';
import type { FaultFacts, Neighbour, Right } from './fault-facts.ts';
import type { FaultEvidence } from './fault-log.ts';
import type { MappingRecord, UnmappedRecord } from '../mapping/mapping-journal.ts';

/**
 * - `never-mapped`: nothing was mapped there, or it is forgotten;
 * - `unmapped-before`: it was, until somebody unmapped it;
 * - `permission`: it is, without the right;
 * - `beyond-end`, `before-start`: within 64 KiB after or before a live mapping;
 * - `blocked-domain`: the device is on the blocked domain;
 * - `not-routed`: no context, or no configured device, has the stream;
 * - `outside-aperture`: it can never be mapped there;
 * - `process`: the device works in the address space of a process, which has nothing there or refuses it;
 * - `mapped-now`: the tables do map it: mapped too late, or the hardware worked from an older state;
 * - `hardware`: the walk or the access itself failed, whatever is mapped.
 */
export type Conclusion =
  | 'never-mapped'
  | 'unmapped-before'
  | 'permission'
  | 'beyond-end'
  | 'before-start'
  | 'blocked-domain'
  | 'not-routed'
  | 'outside-aperture'
  | 'process'
  | 'mapped-now'
  | 'hardware';

export interface Explanation {
  readonly fault: Fault;
  readonly conclusion: Conclusion;
  /** The conclusion in a sentence, with names. */
  readonly summary: string;
  /** Name of the IOMMU. */
  readonly instance: string;
  /** Kind of the domain that was current; undefined when there was none. */
  readonly domainKind: DomainKind | undefined;
  /** Bytes of the smallest page; undefined without a paging domain. */
  readonly granule: number | undefined;
  /** The table walk for the address, as the walker saw memory when the fault was reported. */
  readonly walk: readonly WalkStep[];
  /** The mapping over the address when the fault was reported. */
  readonly mapping: MappingRecord | undefined;
  /** The right it lacks. */
  readonly lacks: Right | undefined;
  /** The nearest live mappings around the address at that time. */
  readonly below: Neighbour | undefined;
  readonly above: Neighbour | undefined;
  /** The last mapping over the address that had been taken away. */
  readonly previous: UnmappedRecord | undefined;
  /** Nanoseconds from that unmap to the report of the fault. */
  readonly unmappedForNs: number | undefined;
  /** A mapping over the address made after the fault, if it is live now. */
  readonly later: MappingRecord | undefined;
  /** What else the address looks like. */
  readonly hints: readonly string[];
  /** What would have made the access legal; any one of them. */
  readonly remedies: readonly string[];
}

/** How near a mapping must be to be held responsible, in bytes. */
export const NEAR_BYTES = 0x10000;

/** What the parts of an explanation are made from. */
export interface FaultCase {
  readonly fault: Fault;
  readonly conclusion: Conclusion;
  readonly facts: FaultFacts;
  readonly evidence: FaultEvidence;
}
