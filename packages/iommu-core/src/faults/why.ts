/**
 * Why a fault happened: what stood in the tables, what was mapped there and near it, by whom and until when, and what
 * would have made the access legal.
 */
import { internalsOf, type IommuDomain } from '../domain.ts';
import { type Conclusion, type Explanation, type FaultCase, NEAR_BYTES } from './explanation.ts';
import type { Fault } from './fault.ts';
import { type FaultFacts, gatherFacts, isInAperture } from './fault-facts.ts';
import { findHints } from './fault-hints.ts';
import type { FaultEvidence } from './fault-log.ts';
import { summaryOf } from './fault-summary.ts';
import { MappingJournal } from '../mapping/mapping-journal.ts';
import { remediesFor } from './remedies.ts';

/** @param related domains the device could have meant: its own, and those nobody uses */
export function explain(fault: Fault, evidence: FaultEvidence, related: readonly IommuDomain[]): Explanation {
  const { domain, instance, walk, order } = evidence;
  const journal = domain === undefined ? new MappingJournal() : internalsOf(domain).journal;
  const facts = gatherFacts(fault, journal, order);
  const conclusion = conclude(fault, evidence, facts);
  const faultCase: FaultCase = { fault, conclusion, facts, evidence };
  const { previous } = facts;
  return {
    ...facts,
    fault,
    conclusion,
    summary: summaryOf(faultCase),
    instance: instance.name,
    domainKind: domain?.kind,
    granule: domain?.capabilities.pageSizes[0],
    walk,
    unmappedForNs: previous && fault.ns - previous.unmappedAtNs,
    hints: findHints(faultCase, related),
    remedies: remediesFor(faultCase),
  };
}

function conclude(fault: Fault, evidence: FaultEvidence, facts: FaultFacts): Conclusion {
  const { device, domain } = evidence;
  const isUnrouted = fault.context === undefined || fault.cause === 'configuration';
  if (device === undefined || isUnrouted) return 'not-routed';
  if (domain === undefined || domain.kind === 'blocked') return 'blocked-domain';
  if (domain.kind === 'identity' || fault.cause === 'walk-abort') return 'hardware';
  if (!isInAperture(domain.capabilities, fault.iova)) return 'outside-aperture';
  if (domain.kind === 'sva') return 'process';
  if (facts.lacks !== undefined) return 'permission';
  if (facts.mapping !== undefined) {
    return fault.cause === 'access-flag' || fault.cause === 'other' ? 'hardware' : 'mapped-now';
  }
  if (facts.previous !== undefined) return 'unmapped-before';
  if (facts.later !== undefined) return 'mapped-now';
  const after = facts.below?.distanceBytes ?? Infinity;
  const before = facts.above?.distanceBytes ?? Infinity;
  if (Math.min(after, before) >= NEAR_BYTES) return 'never-mapped';
  return after <= before ? 'beyond-end' : 'before-start';
}
