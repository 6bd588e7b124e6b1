/** What else a faulting address looks like. Hints are guesses with their reason; the conclusion does not rest on them. */
import { hex } from '@iommu-lab/machine';
import { internalsOf, type IommuDomain } from '../domain.ts';
import { afterText } from './fault-summary.ts';
import { contains, type MappingRecord } from '../mapping/mapping-journal.ts';
import { type FaultCase, NEAR_BYTES } from './explanation.ts';
import { makerText, quoted } from './words.ts';

/** Addresses below this are `an unset register`. */
const SMALL_ADDRESS = 0x1000;
const FOUR_GIB = 0x1_0000_0000;

/** @param related domains the device could have meant */
export function findHints(faultCase: FaultCase, related: readonly IommuDomain[]): readonly string[] {
  const { fault, facts, conclusion } = faultCase;
  // The address is right in these cases; there is nothing to guess.
  if (conclusion === 'permission' || conclusion === 'mapped-now') return staleHints(faultCase);
  if (conclusion === 'hardware' || conclusion === 'not-routed') return [];
  const { iova } = fault;
  const hints: string[] = [];
  const physical = findPhysical(faultCase, related);
  if (physical !== undefined) {
    const right = physical.iova + (iova - physical.address);
    hints.push(
      `it is a physical address of ${makerText(physical)}, whose IOVA is ${hex(right)}: was the wrong one given?`,
    );
  }
  const other = related.find((d) => d !== faultCase.evidence.domain && mappingIn(d, iova) !== undefined);
  const there = other && mappingIn(other, iova);
  if (other !== undefined && there !== undefined) {
    hints.push(`domain ${other.name} maps it (${makerText(there)}), but that is not the current one`);
  }
  const wide = [facts.below, facts.above].flatMap((n) => n?.mapping ?? []).find((r) => isCut(r, iova));
  if (wide !== undefined)
    hints.push(`it is an address of ${makerText(wide)} cut to 32 bits: use the full width`);
  // An address that was good once is no wild one.
  const isWild = conclusion !== 'unmapped-before';
  if (isWild && iova < SMALL_ADDRESS)
    hints.push('it is 0 or next to it: an address register that was never set?');
  if (isWild && iova >= FOUR_GIB - SMALL_ADDRESS && iova < FOUR_GIB) {
    hints.push('it is all ones or next to it: a failed mapping that was used all the same, or a wrap?');
  }
  const { below, previous } = facts;
  if (conclusion === 'unmapped-before' && below !== undefined && below.distanceBytes < NEAR_BYTES) {
    hints.push(
      `it also follows ${makerText(below.mapping)} (${afterText(below.distanceBytes)}): an overrun looks the same`,
    );
  }
  if (conclusion !== 'unmapped-before' && previous !== undefined) {
    hints.push(`${makerText(previous)} had it once, until ${quoted(previous.unmappedBy)} unmapped it`);
  }
  return hints;
}

function staleHints({ facts, fault, conclusion }: FaultCase): readonly string[] {
  const { previous, mapping } = facts;
  if (conclusion !== 'mapped-now' || mapping === undefined || previous === undefined) return [];
  const how = fault.cause === 'permission' ? 'its rights may still be in the TLB' : 'it was unmapped before';
  return [`${makerText(previous)} had the address before (${how})`];
}

/** The mapping, in a domain that matters here, to whose memory the address would lead if it were a physical one. */
function findPhysical(
  { fault, evidence }: FaultCase,
  related: readonly IommuDomain[],
): MappingRecord | undefined {
  const domains = new Set([...(evidence.domain === undefined ? [] : [evidence.domain]), ...related]);
  return [...domains]
    .flatMap((d) => d.mappings())
    .find((r) => fault.iova >= r.address && fault.iova < r.address + r.sizeBytes && r.address !== r.iova);
}

function mappingIn(domain: IommuDomain, iova: number): MappingRecord | undefined {
  return internalsOf(domain).journal.find(iova);
}

function isCut(record: MappingRecord, iova: number): boolean {
  const high = Math.floor(record.iova / FOUR_GIB) * FOUR_GIB;
  return high > 0 && iova < FOUR_GIB && contains(record, high + iova);
}
