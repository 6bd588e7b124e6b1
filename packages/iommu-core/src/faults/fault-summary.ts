/** The one sentence that tells why. */
import { hex } from '@iommu-lab/machine';
import { internalsOf } from '../domain.ts';
import type { FaultCase } from './explanation.ts';
import { agoText, makerText, quoted, rightsText, sizeText } from './words.ts';

/** The conclusion in a sentence, with the names of those involved. */
export function summaryOf(faultCase: FaultCase): string {
  const { fault, facts, evidence, conclusion } = faultCase;
  const { mapping, previous, below, above, later } = facts;
  const at = hex(fault.iova);
  const domain = fault.domain ?? 'no domain';
  switch (conclusion) {
    case 'not-routed':
      return notRouted(faultCase);
    case 'blocked-domain':
      return blockedText(faultCase);
    case 'outside-aperture': {
      const { start, last } = evidence.domain?.capabilities.aperture ?? { start: 0, last: 0 };
      return `${at} is outside ${hex(start)}-${hex(last)}, all that ${domain} can map`;
    }
    case 'permission': {
      const judged = mapping ?? previous;
      return judged === undefined ? '' : `${makerText(judged)} mapped it ${missingText(faultCase)}`;
    }
    case 'unmapped-before':
      return previous === undefined
        ? ''
        : `${makerText(previous)} had mapped it; ${quoted(previous.unmappedBy)} unmapped it ${agoText(fault.ns - previous.unmappedAtNs, 'the fault was reported')}`;
    case 'mapped-now':
      if (mapping !== undefined) {
        return `${makerText(mapping)} mapped it ${rightsText(mapping.protection)} ${agoText(fault.ns - mapping.atNs, 'the fault was reported')}: the access was issued before that, or the hardware worked from an older state`;
      }
      return `${later && makerText(later)} mapped it only after the fault was reported: the device was started too early`;
    case 'beyond-end':
      return `the access ran past the end of ${below && makerText(below.mapping)}: this is ${afterText(below?.distanceBytes ?? 0)}`;
    case 'before-start':
      return `the access began ${sizeText(above?.distanceBytes ?? 0)} before ${above && makerText(above.mapping)}`;
    case 'process':
      return processText(faultCase);
    case 'hardware':
      return fault.cause === 'walk-abort'
        ? 'the walker got a bus error: a table address is wrong, or the memory is gone'
        : `the hardware refused it for a reason of its own (${fault.cause}): see the registers`;
    case 'never-mapped':
      return below === undefined && above === undefined
        ? `nothing was mapped at all in ${domain}`
        : `nothing was ever mapped at ${at} in ${domain}, nor within 64 KiB of it`;
  }
}

/** How far after the end of a mapping an address lies. */
export function afterText(distanceBytes: number): string {
  return distanceBytes === 0 ? 'the byte right after it' : `${sizeText(distanceBytes)} after it`;
}

function blockedText({ fault, evidence: { domain, owner } }: FaultCase): string {
  if (domain === undefined) return `nothing could be attached to ${fault.device}: its streams are blocked`;
  const since =
    owner === undefined ? 'every access is refused' : `"${owner}" owns its group and has attached nothing`;
  return `${fault.device} is on the blocked domain: ${since}`;
}

function processText({ fault, evidence: { domain, walk } }: FaultCase): string {
  const { name } = (domain && internalsOf(domain).process) ?? { name: 'the process' };
  const leaf = fault.cause === 'permission' ? walk.at(-1)?.meaning : undefined;
  return leaf === undefined
    ? `the process ${name} had nothing at ${hex(fault.iova)}: until it brings a page in, the access waits`
    : `the process ${name} refuses this ${fault.direction} at ${hex(fault.iova)}: ${leaf}`;
}

function missingText({ fault, facts: { mapping, previous, lacks } }: FaultCase): string {
  const judged = mapping ?? previous;
  const gone = mapping === undefined ? '; it has been unmapped since' : '';
  if (lacks === 'unprivileged') return `for privileged accesses only${gone}`;
  if (lacks === 'execute') return `without the right to fetch instructions${gone}`;
  return `${judged && rightsText(judged.protection)}, and this was a ${fault.direction}${gone}`;
}

function notRouted({ fault, evidence }: FaultCase): string {
  const { name } = evidence.instance;
  if (fault.context === undefined) return `no context of ${name} serves stream ${fault.streamId}`;
  if (evidence.device === undefined) {
    return `stream ${fault.streamId} reached context ${fault.context}, but no configured device has it`;
  }
  return `context ${fault.context} of ${name} is not set up for stream ${fault.streamId}`;
}
