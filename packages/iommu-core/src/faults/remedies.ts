/** What would have made a faulting access legal, concretely; any one of them. */
import { alignUp, hex } from '@iommu-lab/machine';
import type { FaultCase } from './explanation.ts';
import { makerText, pageText, quoted, rangeText, rightsText, sizeText } from './words.ts';

/** Remedies, the likeliest first. Never empty. */
export function remediesFor(faultCase: FaultCase): readonly string[] {
  const { fault, evidence, conclusion, facts } = faultCase;
  const { below, above, later } = facts;
  const device = fault.device ?? `stream ${fault.streamId}`;
  const granule = evidence.domain?.capabilities.pageSizes[0] ?? 1;
  const mapPage = `map ${pageText(fault.iova, granule)} with ${fault.direction}`;
  switch (conclusion) {
    case 'not-routed':
      return [
        `bind a driver to the device that issues stream ${fault.streamId}, so that it is configured before it starts`,
        `or correct the wiring: an endpoint with stream ${fault.streamId} at provider ${fault.provider}`,
      ];
    case 'blocked-domain':
      return [
        `attach a domain to ${device} before it is started`,
        `or stop ${device} before its domain is taken away`,
      ];
    case 'outside-aperture': {
      const { start, last } = evidence.domain?.capabilities.aperture ?? { start: 0, last: 0 };
      return [`give ${device} an address from ${hex(start)} to ${hex(last)}`];
    }
    case 'permission':
      return permissionRemedies(faultCase, device);
    case 'unmapped-before':
      return unmappedRemedies(faultCase, device, mapPage);
    case 'beyond-end':
      return below === undefined ? [mapPage] : beyondRemedies(faultCase, device, granule);
    case 'before-start':
      return [
        `start at ${hex(above?.mapping.iova ?? 0)}, where ${above && makerText(above.mapping)} begins`,
        `or ${mapPage}`,
      ];
    case 'mapped-now':
      return later === undefined
        ? [
            `start ${device} after the map has returned, not before`,
            'or make the hardware see it: clean the descriptors the walker reads, invalidate what an earlier mapping left',
          ]
        : [`start ${device} after ${makerText(later)} has mapped ${rangeText(later)}`];
    case 'process':
      return [
        `let the process map ${pageText(fault.iova, granule)} with ${fault.direction} before ${device} uses it`,
      ];
    case 'hardware':
      return [
        'look at the registers of the fault: no mapping would have made this legal',
        ...(fault.cause === 'walk-abort'
          ? ['keep the memory of the tables until the domain is detached and invalidated']
          : []),
      ];
    case 'never-mapped':
      return [`${mapPage} before ${device} is started`, ...nearestRemedy(faultCase, device)];
  }
}

function permissionRemedies({ fault, facts }: FaultCase, device: string): readonly string[] {
  const { mapping, previous, lacks } = facts;
  const judged = mapping ?? previous;
  if (judged === undefined) return [];
  const range = rangeText(judged.buffer);
  const maker = makerText(judged);
  if (lacks === 'unprivileged')
    return [`map ${range} for unprivileged accesses too: ${maker} mapped it privileged`];
  if (lacks === 'execute') return [`map ${range} without no-exec: ${maker} mapped it so`];
  const other = fault.direction === 'write' ? 'read' : 'write';
  return [
    `map ${range} with ${fault.direction}: ${maker} mapped it ${rightsText(judged.protection)}`,
    `or let ${device} only ${other} there`,
  ];
}

function unmappedRemedies({ facts }: FaultCase, device: string, mapPage: string): readonly string[] {
  const { previous } = facts;
  if (previous === undefined) return [mapPage];
  const taker = quoted(previous.unmappedBy);
  return [
    `unmap ${rangeText(previous.buffer)} after the transfer has ended: ${taker} must wait for ${device}, or stop it`,
    `or ${mapPage} again before ${device} uses it`,
  ];
}

function beyondRemedies({ fault, facts }: FaultCase, device: string, granule: number): readonly string[] {
  const mapping = facts.below?.mapping;
  if (mapping === undefined) return [];
  const end = mapping.iova + mapping.sizeBytes;
  const missing = alignUp(fault.iova + 1 - end, granule);
  return [
    `end the transfer of ${device} at ${hex(end - 1)}, the last byte of ${makerText(mapping)}`,
    `or map ${sizeText(missing)} more with ${fault.direction}: ${rangeText({ iova: end, sizeBytes: missing })}`,
  ];
}

function nearestRemedy({ facts: { below, above } }: FaultCase, device: string): readonly string[] {
  const near = [below, above].flatMap((n) => n ?? []).sort((a, b) => a.distanceBytes - b.distanceBytes)[0];
  if (near === undefined) return [];
  return [
    `or give ${device} an address that is mapped: the nearest is ${rangeText(near.mapping.buffer)} of ${makerText(near.mapping)}`,
  ];
}
