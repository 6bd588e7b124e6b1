/** What the journal knows about a faulting address, as it stood when the fault was reported. */
import type { IommuCapabilities } from '../capabilities.ts';
import type { Fault } from './fault.ts';
import {
  contains,
  type MappingJournal,
  type MappingRecord,
  type UnmappedRecord,
} from '../mapping/mapping-journal.ts';

/** A right that a mapping can lack. */
export type Right = 'read' | 'write' | 'execute' | 'unprivileged';

/** A live mapping near the address. */
export interface Neighbour {
  readonly mapping: MappingRecord;
  /** Bytes between it and the address: 0 for the first byte after its end, 1 for the byte before its start. */
  readonly distanceBytes: number;
}

export interface FaultFacts {
  /** The mapping over the address. */
  readonly mapping: MappingRecord | undefined;
  /** The right that it lacks, or that the one before it lacked when that is what the hardware complained about. */
  readonly lacks: Right | undefined;
  readonly below: Neighbour | undefined;
  readonly above: Neighbour | undefined;
  /** The last mapping over the address that was taken away. */
  readonly previous: UnmappedRecord | undefined;
  /** A mapping over the address that was made since. */
  readonly later: MappingRecord | undefined;
}

/** @param order the journal's position when the fault was reported */
export function gatherFacts(fault: Fault, journal: MappingJournal, order: number): FaultFacts {
  const { iova } = fault;
  const active = journal.activeAt(order);
  const mapping = active.find((r) => contains(r, iova));
  const below = active.findLast((r) => r.iova + r.sizeBytes <= iova);
  const above = active.find((r) => r.iova > iova);
  const previous = journal.lastUnmapped(iova, order);
  const now = journal.find(iova);
  // A refused right is a fact about the moment of the access. The mapping may be gone by the time it is reported.
  const judged = mapping ?? (fault.cause === 'permission' ? previous : undefined);
  return {
    mapping,
    lacks: judged && lackingRight(judged, fault),
    below: below && { mapping: below, distanceBytes: iova - below.iova - below.sizeBytes },
    above: above && { mapping: above, distanceBytes: above.iova - iova },
    previous,
    later: now !== undefined && now.order > order ? now : undefined,
  };
}

function lackingRight({ protection }: MappingRecord, { direction, cause }: Fault): Right | undefined {
  if (!protection[direction]) return direction;
  if (cause !== 'permission') return undefined;
  // The fault does not say who asked; of the rights that are left, the hardware can only have missed these.
  if (protection.privileged === true) return 'unprivileged';
  return protection.noExec === true && direction === 'read' ? 'execute' : undefined;
}

/** Whether `iova` lies in the aperture. */
export function isInAperture({ aperture }: IommuCapabilities, iova: number): boolean {
  return iova >= aperture.start && iova <= aperture.last;
}
