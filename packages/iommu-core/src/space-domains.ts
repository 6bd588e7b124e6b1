/**
 * The domains of one address space: one for each kind of IOMMU that it spans. What is mapped in one is mapped in all,
 * whatever fails in between.
 */
import { assert } from '@iommu-lab/machine';
import { isOneKind } from './common-capabilities.ts';
import { type FaultHandler, internalsOf, type IommuDomain } from './domain.ts';
import type { IommuInstance } from './driver-port.ts';
import type { Binding } from './groups/group.ts';
import type { Gather } from './mapping/gather.ts';
import type { MappingJournal, MappingRecord } from './mapping/mapping-journal.ts';
import type { ScatterEntry } from './mapping/merge-entries.ts';
import type { Protection } from './protection.ts';

/** What one map call asked for. */
export interface MapCall {
  readonly iova: number;
  readonly entries: readonly ScatterEntry[];
  readonly sizeBytes: number;
  readonly protection: Protection;
  readonly by: string;
}

export class SpaceDomains {
  readonly #make: (instances: readonly IommuInstance[]) => IommuDomain;
  /** What is mapped, for domains that come later. */
  readonly #journal: MappingJournal;
  readonly #domains: IommuDomain[] = [];
  #handler: FaultHandler | undefined;

  /** @param make an empty domain that all of `instances` can use; throws LabError EOPNOTSUPP, ENOMEM */
  constructor(journal: MappingJournal, make: (instances: readonly IommuInstance[]) => IommuDomain) {
    this.#journal = journal;
    this.#make = make;
  }

  get all(): readonly IommuDomain[] {
    return this.#domains;
  }

  /** The domain that an IOMMU can use, if there is one. */
  suiting(instance: IommuInstance): IommuDomain | undefined {
    return this.#domains.find((domain) => internalsOf(domain).accepts(instance));
  }

  /** That domain, or a new one with all mappings in it. @throws LabError what its hardware refuses to map; ENOMEM */
  reach(instance: IommuInstance): IommuDomain {
    return this.suiting(instance) ?? this.#add([instance]);
  }

  /**
   * A domain for each binding: those there are, and new ones that bindings of one kind share.
   * @throws LabError as `reach`, with the new ones gone again
   */
  reachAll(bindings: readonly Binding[]): ReadonlyMap<Binding, IommuDomain> {
    const known = new Set(this.#domains);
    const chosen = new Map<Binding, IommuDomain>();
    try {
      for (const binding of bindings) {
        const { instance } = binding;
        const alike = bindings.map((b) => b.instance).filter((i) => i.tableKey === instance.tableKey);
        chosen.set(binding, this.suiting(instance) ?? this.#add(isOneKind(alike) ? alike : [instance]));
      }
    } catch (error) {
      this.keep((domain) => known.has(domain));
      throw error;
    }
    return chosen;
  }

  /** Maps in every domain, or in none. @throws LabError as `IommuDomain.mapSg` */
  map(call: MapCall): void {
    const done: IommuDomain[] = [];
    try {
      for (const domain of this.#domains) {
        domain.mapSg(call.iova, call.entries, call.protection, call.by);
        done.push(domain);
      }
    } catch (error) {
      for (const domain of done.reverse()) domain.unmap(call.iova, call.sizeBytes, `${call.by}, rolled back`);
      throw error;
    }
  }

  /** Unmaps what one call mapped, in every domain; each has its part of `gather`, which it syncs. Cannot fail. */
  unmapFast({ iova, sizeBytes }: MappingRecord['buffer'], gather: Gather, by: string): void {
    for (const domain of this.#domains) {
      const removed = domain.unmapFast(iova, sizeBytes, gather.part(domain), by);
      assert(removed === sizeBytes, `${domain.name} maps what its address space maps`);
    }
  }

  setFaultHandler(handler: FaultHandler | undefined): void {
    this.#handler = handler;
    for (const domain of this.#domains) domain.setFaultHandler(handler);
  }

  /** Frees the domains that are not to be kept. Nothing is attached to them. */
  keep(isKept: (domain: IommuDomain) => boolean): void {
    for (const domain of this.#domains.slice()) {
      if (isKept(domain)) continue;
      domain.free();
      this.#domains.splice(this.#domains.indexOf(domain), 1);
    }
  }

  #add(instances: readonly IommuInstance[]): IommuDomain {
    const domain = this.#make([...new Set(instances)]);
    try {
      for (const { iova, entries, protection, by } of liveCalls(this.#journal)) {
        domain.mapSg(iova, entries, protection, by);
      }
    } catch (error) {
      domain.free();
      throw error;
    }
    if (this.#handler !== undefined) domain.setFaultHandler(this.#handler);
    this.#domains.push(domain);
    return domain;
  }
}

/** Every map call that is live, as it was made: mappings go whole, so all records of a call are there. */
function* liveCalls(journal: MappingJournal): Iterable<MapCall> {
  let entries: ScatterEntry[] = [];
  for (const { iova, address, sizeBytes, buffer, protection, by } of journal.live) {
    entries.push({ address, length: sizeBytes });
    if (iova + sizeBytes < buffer.iova + buffer.sizeBytes) continue;
    yield { ...buffer, entries, protection, by };
    entries = [];
  }
}
