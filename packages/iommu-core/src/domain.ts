/**
 * A domain: one translation regime. Only a paging domain has mappings; identity and blocked are static, and what an sva
 * domain translates by is a process's own.
 *
 * The order of every operation: check, change the tables, tell the hardware, write the journal, report. A map is all
 * or nothing; an unmap goes as far as something is mapped (drivers/iommu/iommu.c, iommu_map, __iommu_unmap).
 * Long because mapping and unmapping share checks and journal, and every call says its errors.
 */
import { assert, hex, LabError, type PhysAddr, type World } from '@iommu-lab/machine';
import type { IommuCapabilities } from './capabilities.ts';
import { type DirtyPage, DirtyTracking } from './mapping/dirty-tracking.ts';
import type { AttachTarget, FaultVerdict, IommuInstance, PagingTable } from './driver-port.ts';
import type { Fault } from './faults/fault.ts';
import { Gather } from './mapping/gather.ts';
import { MappingJournal, type MappingRecord, type NewMapping } from './mapping/mapping-journal.ts';
import { checkIovaRange, checkPhysRange, grantedProtection } from './mapping/mapping-rules.ts';
import { mergeEntries, type ScatterEntry } from './mapping/merge-entries.ts';
import type { ProcessSpace } from './process-space.ts';
import { formatProtection, type Protection } from './protection.ts';
import { nextPiece, pageAround, type Piece, splitRange } from './mapping/split-range.ts';

export type DomainKind = 'paging' | 'identity' | 'blocked' | 'sva';

/** Looks at a fault in a domain. @returns the verdict, or undefined to leave it to the next. */
export type FaultHandler = (fault: Fault) => FaultVerdict | undefined;

/** Who a mapping is by when its caller gave no label. */
export const UNLABELLED = '(no label)';

/** What the core makes a domain from. */
export interface DomainInit {
  readonly name: string;
  readonly target: AttachTarget;
  readonly capabilities: IommuCapabilities;
  /** Whether an instance can translate by it. */
  readonly accepts: (instance: IommuInstance) => boolean;
  /** Whose address space an sva domain is. */
  readonly process?: ProcessSpace;
  readonly handler?: FaultHandler;
  /** Who keeps it for a purpose of its own, for people; absent: whoever has it may attach it. */
  readonly heldBy?: string;
  /** Who has the domain as current or default, for people; empty when it may be freed. */
  readonly users: () => readonly string[];
}

/** The core's own view of a domain; not for its users. */
export interface DomainInternals {
  readonly target: AttachTarget;
  readonly accepts: (instance: IommuInstance) => boolean;
  readonly process: ProcessSpace | undefined;
  readonly journal: MappingJournal;
  readonly handler: FaultHandler | undefined;
  readonly heldBy: string | undefined;
  readonly isFreed: boolean;
}

/** @internal */
export let internalsOf: (domain: IommuDomain) => DomainInternals;

export class IommuDomain {
  readonly kind: DomainKind;
  readonly name: string;
  readonly capabilities: IommuCapabilities;
  readonly #world: World;
  readonly #init: DomainInit;
  readonly #journal = new MappingJournal();
  #handler: FaultHandler | undefined;
  #isFreed = false;
  readonly #dirty: DirtyTracking;

  static {
    internalsOf = (domain) => ({
      target: domain.#init.target,
      accepts: domain.#init.accepts,
      process: domain.#init.process,
      journal: domain.#journal,
      handler: domain.#handler,
      heldBy: domain.#init.heldBy,
      isFreed: domain.#isFreed,
    });
  }

  /** Domains come from `Iommu`; nobody else makes one. */
  constructor(world: World, init: DomainInit) {
    this.#world = world;
    this.#init = init;
    this.#handler = init.handler;
    this.kind = init.target.kind;
    this.name = init.name;
    this.capabilities = init.capabilities;
    this.#dirty = new DirtyTracking(this);
  }

  /** Bytes of memory the domain's own tables occupy; 0 for a static, sva or freed domain. */
  get tableBytes(): number {
    const { target } = this.#init;
    return target.kind === 'paging' && !this.#isFreed ? target.table.tableBytes : 0;
  }

  /** Bytes mapped now. */
  get mappedBytes(): number {
    return this.#journal.liveBytes;
  }

  /** Live mappings, ascending by IOVA. */
  mappings(): readonly MappingRecord[] {
    return [...this.#journal.live];
  }

  /**
   * Maps `sizeBytes` from `iova` to `address` on, in the largest pages that fit.
   * @param by who maps, for reports: `rot: source frame`
   * @throws LabError EINVAL when not a paging domain, freed, unaligned, empty or without rights; ERANGE outside the
   * aperture or beyond the last physical address; EEXIST where something is mapped; EOPNOTSUPP on rights the hardware
   * cannot express; ENOMEM without memory for tables. Nothing is mapped then.
   */
  map(
    iova: number,
    address: number,
    sizeBytes: number,
    protection: Protection,
    by: string = UNLABELLED,
  ): void {
    this.mapSg(iova, [{ address, length: sizeBytes }], protection, by);
  }

  /**
   * Maps a scattered buffer at consecutive IOVAs from `iova` on. Physically consecutive entries become one mapping;
   * the hardware is told once.
   * @returns bytes mapped @throws LabError as `map`, with nothing of the buffer mapped
   */
  mapSg(
    iova: number,
    entries: readonly ScatterEntry[],
    protection: Protection,
    by: string = UNLABELLED,
  ): number {
    const table = this.#table();
    const granted = grantedProtection(this.capabilities, protection);
    const runs = mergeEntries(entries);
    let sizeBytes = 0;
    for (const run of runs) sizeBytes += run.length;
    checkIovaRange(this.capabilities, iova, sizeBytes);
    for (const run of runs) checkPhysRange(this.capabilities, run.address, run.length);
    this.#refuseOverlap(iova, sizeBytes);

    const { pageSizes } = this.capabilities;
    const pieces: Piece[] = [];
    let runIova = iova;
    for (const run of runs) {
      splitRange(pageSizes, runIova, run.address, run.length, pieces);
      runIova += run.length;
    }
    this.#mapPieces(table, pieces, granted, iova, sizeBytes);
    runIova = iova;
    const atNs = this.#world.clock.now;
    const buffer = { iova, sizeBytes };
    const requested = granted === protection ? undefined : protection;
    for (const { address, length } of runs) {
      const mapping = { iova: runIova, address, sizeBytes: length, protection: granted, by, atNs, buffer };
      this.#record(requested === undefined ? mapping : { ...mapping, requested });
      runIova += length;
    }
    return sizeBytes;
  }

  /**
   * Removes what is mapped from `iova` on, and waits until the hardware has forgotten it.
   * @returns bytes removed: fewer than asked when a hole comes first, more when the range ends inside a larger page,
   * which goes whole; 0 when nothing is mapped at `iova`.
   * @throws LabError EINVAL when not a paging domain, freed, unaligned or empty, or when the range starts inside a
   * larger page; ERANGE outside the aperture
   */
  unmap(iova: number, sizeBytes: number, by: string = UNLABELLED): number {
    const gather = new Gather();
    const removed = this.unmapFast(iova, sizeBytes, gather, by);
    if (!gather.isEmpty) this.sync(gather);
    return removed;
  }

  /**
   * `unmap` without the wait: the hardware may go on using what was removed until `sync(gather)`. Memory and IOVA must
   * not be used for anything else before.
   */
  unmapFast(iova: number, sizeBytes: number, gather: Gather, by: string = UNLABELLED): number {
    const table = this.#table();
    checkIovaRange(this.capabilities, iova, sizeBytes);
    this.#refuseMiddleOfPage(iova);
    const { pageSizes } = this.capabilities;
    let done = 0;
    while (done < sizeBytes) {
      const at = iova + done;
      const { pageSize, count } = nextPiece(pageSizes, at, at, sizeBytes - done);
      const removed = table.unmapPages(at, pageSize, count, gather);
      if (removed === 0) break;
      done += removed;
    }
    if (done > 0) this.#journal.remove(iova, done, by, this.#world.clock.now);
    if (this.#world.events.isObserved) {
      this.#world.emit('iommu:unmap', {
        domain: this.name,
        iova: hex(iova),
        size: sizeBytes,
        unmapped_size: done,
        by,
      });
    }
    return done;
  }

  /** Makes the hardware forget what `gather` holds, waits for it, and frees the tables left to it. */
  sync(gather: Gather): void {
    const { target } = this.#init;
    if (target.kind === 'paging' && !this.#isFreed) target.table.sync(gather);
    else gather.finish();
  }

  /** Where `iova` leads by the tables, or undefined: nowhere. The TLB is not asked. */
  iovaToPhys(iova: number): PhysAddr | undefined {
    const { target } = this.#init;
    if (target.kind === 'identity') return iova as PhysAddr;
    if (target.kind === 'sva') return this.#init.process?.lookup(iova);
    if (target.kind === 'blocked' || this.#isFreed) return undefined;
    const { start, last } = this.capabilities.aperture;
    return iova >= start && iova <= last ? target.table.iovaToPhys(iova) : undefined;
  }

  /**
   * From now on the hardware notes which pages are written, or no longer. Turning it on starts with no page dirty.
   * @throws LabError EINVAL when not a paging domain or freed; EOPNOTSUPP on hardware that cannot
   */
  setDirtyTracking(isOn: boolean): void {
    this.#dirty.set(this.#table(), isOn);
  }

  /**
   * Pages that were written since tracking began or since they were last cleared, ascending.
   * @param sizeBytes 0: the whole aperture; @param options.clear they count as clean from here on
   * @throws LabError EINVAL as `setDirtyTracking`, on an unaligned range, or when tracking is off; ERANGE outside the
   * aperture; EOPNOTSUPP
   */
  readDirty(
    iova: number,
    sizeBytes: number,
    options: { readonly clear?: boolean } = {},
  ): readonly DirtyPage[] {
    return this.#dirty.read(this.#table(), iova, sizeBytes, options.clear === true);
  }

  /**
   * Sets who is asked first about a fault in this domain; undefined: nobody.
   * @throws LabError EINVAL on a static domain, which is shared by devices that have nothing to do with each other, and on
   * a process's, which answers its faults itself
   */
  setFaultHandler(handler: FaultHandler | undefined): void {
    if (this.kind !== 'paging')
      throw new LabError('EINVAL', `domain ${this.name} is ${this.kind}: it takes no handler`);
    this.#handler = handler;
  }

  /**
   * Gives the tables back; what is still mapped goes with them. Harmless on a static domain or a second time.
   * @throws LabError EBUSY while a device is attached, or it is a group's default
   */
  free(): void {
    const { target } = this.#init;
    if ((target.kind !== 'paging' && target.kind !== 'sva') || this.#isFreed) return;
    const users = this.#init.users();
    if (users.length > 0) {
      throw new LabError('EBUSY', `domain ${this.name} is in use by ${users.join(', ')}`, {
        domain: this.name,
      });
    }
    this.#isFreed = true;
    target.table.destroy();
    this.#journal.remove(0, Number.MAX_SAFE_INTEGER, 'the end of the domain', this.#world.clock.now);
  }

  #table(): PagingTable {
    const { target } = this.#init;
    if (target.kind !== 'paging')
      throw new LabError('EINVAL', `domain ${this.name} is ${this.kind}: it has no mappings`);
    if (this.#isFreed) throw new LabError('EINVAL', `domain ${this.name} has been freed`);
    return target.table;
  }

  #mapPieces(
    table: PagingTable,
    pieces: readonly Piece[],
    protection: Protection,
    iova: number,
    sizeBytes: number,
  ): void {
    let mapped = 0;
    try {
      for (const piece of pieces) {
        this.#step('iommu-core.map', iova);
        table.mapPages(piece.iova, piece.address, piece.pageSize, piece.count, protection);
        mapped++;
      }
      this.#step('iommu-core.journal', iova);
      table.syncMap(iova, sizeBytes);
    } catch (error) {
      // Exactly what this call made goes again; what stood there before was never touched.
      const gather = new Gather();
      for (const piece of pieces.slice(0, mapped).reverse()) {
        const removed = table.unmapPages(piece.iova, piece.pageSize, piece.count, gather);
        assert(removed === piece.pageSize * piece.count, 'roll-back removes what the map call made');
      }
      if (!gather.isEmpty) table.sync(gather);
      throw error;
    }
  }

  #step(site: string, iova: number): void {
    if (this.#world.fail(site)) {
      throw new LabError('ENOMEM', `no memory to map ${hex(iova)}`, { iova });
    }
  }

  #record(mapping: NewMapping): void {
    this.#journal.add(mapping);
    if (!this.#world.events.isObserved) return;
    this.#world.emit('iommu:map', {
      domain: this.name,
      iova: hex(mapping.iova),
      paddr: hex(mapping.address),
      size: mapping.sizeBytes,
      prot: formatProtection(mapping.protection),
      by: mapping.by,
    });
  }

  #refuseOverlap(iova: number, sizeBytes: number): void {
    const other = this.#journal.firstOverlap(iova, sizeBytes);
    if (other === undefined) return;
    throw new LabError(
      'EEXIST',
      `${hex(other.iova)}-${hex(other.iova + other.sizeBytes - 1)} is mapped in ${this.name} by "${other.by}"`,
      { iova, sizeBytes, domain: this.name },
    );
  }

  /** A table can give back whole pages only; from the middle of one the caller cannot mean that. */
  #refuseMiddleOfPage(iova: number): void {
    const record = this.#journal.find(iova);
    if (record === undefined || record.whole.iova === iova) return;
    const page = pageAround(this.capabilities.pageSizes, record.whole, iova);
    if (page.start === iova) return;
    throw new LabError('EINVAL', `${hex(iova)} lies inside a page of ${page.pageSize} bytes`, { iova });
  }
}
