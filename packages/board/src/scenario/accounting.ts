/**
 * Counts, per IOMMU, what the event log says of mappings; the rest is read from the hardware at the end.
 *
 * A mapping belongs to a domain, and a domain to every IOMMU it was ever attached to: what was mapped before the
 * attach counts as well.
 */
import { assert, type EventValue, type LabEvent } from '@iommu-lab/machine';
import type { System } from '../system.ts';
import type { IommuReport } from './report.ts';

interface DomainCounts {
  maps: number;
  unmaps: number;
  readonly providers: Set<string>;
}

/** Counts from its construction on; made right after the boot, so that a run is counted whole. */
export class Accounting {
  readonly #system: System;
  readonly #domains = new Map<string, DomainCounts>();
  readonly #tableBytesPeak = new Map<string, number>();

  constructor(system: System) {
    this.#system = system;
    for (const device of system.bus.devices) {
      const domain = system.iommu.domainOf(device);
      if (domain !== undefined) this.#noteAttach(device.name, domain.name);
    }
    system.world.events.subscribe((event) => this.#note(event));
  }

  /** One row for each IOMMU of the board, in the board's order. */
  report(): readonly IommuReport[] {
    return [...this.#system.smmus.keys()].map((provider) => {
      const domains = [...this.#domains.values()].filter((domain) => domain.providers.has(provider));
      const { hits, misses, walks, invalidations, faults } = this.#system.smmu(provider).statistics;
      return {
        provider,
        maps: domains.reduce((sum, domain) => sum + domain.maps, 0),
        unmaps: domains.reduce((sum, domain) => sum + domain.unmaps, 0),
        tableBytesPeak: this.#tableBytesPeak.get(provider) ?? 0,
        tlbHits: hits,
        tlbMisses: misses,
        walks,
        invalidations,
        faults,
      };
    });
  }

  #note({ name, fields }: LabEvent): void {
    if (name === 'iommu:attach_device_to_domain') {
      this.#noteAttach(nameIn(fields['device']), nameIn(fields['domain']));
    } else if (name === 'iommu:map') {
      this.#counts(nameIn(fields['domain'])).maps++;
      this.#noteTableBytes();
    } else if (name === 'iommu:unmap') {
      this.#counts(nameIn(fields['domain'])).unmaps++;
    }
  }

  #noteAttach(deviceName: string, domainName: string): void {
    const device = this.#system.bus.devices.find((d) => d.name === deviceName);
    for (const endpoint of device?.endpoints ?? []) this.#counts(domainName).providers.add(endpoint.provider);
    this.#noteTableBytes();
  }

  #noteTableBytes(): void {
    const now = new Map<string, number>();
    for (const { name, tableBytes } of this.#system.iommu.domains) {
      for (const provider of this.#counts(name).providers) {
        now.set(provider, (now.get(provider) ?? 0) + tableBytes);
      }
    }
    for (const [provider, bytes] of now) {
      this.#tableBytesPeak.set(provider, Math.max(bytes, this.#tableBytesPeak.get(provider) ?? 0));
    }
  }

  #counts(domain: string): DomainCounts {
    let counts = this.#domains.get(domain);
    if (counts === undefined) {
      counts = { maps: 0, unmaps: 0, providers: new Set() };
      this.#domains.set(domain, counts);
    }
    return counts;
  }
}

function nameIn(value: EventValue | undefined): string {
  assert(typeof value === 'string', 'devices and domains are named in events');
  return value;
}
