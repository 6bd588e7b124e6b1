/**
 * The hardware: a made-up IOMMU that is as small as one can be and still has everything a driver must deal with.
 * Masters see a bus port, the driver sees registers, the walker sees memory; it knows no kernel.
 *
 * It goes on using a cached entry after the table changed, until it is told to drop it: a driver that forgets the
 * invalidation is found out. The same goes for the dirty bit: what it knows to be dirty it does not note again.
 */
import {
  type AccessStatus,
  BUS_ERROR,
  type BusAccess,
  type BusPort,
  encode,
  extract,
  type InterruptLine,
  LabError,
  maskOf,
  type MemoryPort,
  type MmioDevice,
  moveBytes,
  type PhysAddr,
  RegisterFile,
} from '@iommu-lab/machine';
import {
  CONTROL,
  DOORBELL_IOVA,
  DOORBELLS,
  FAULT_ADDRESS,
  FAULT_CAUSE,
  FAULT_STATUS,
  INVALIDATE_ALL,
  INVALIDATE_PAGE,
  MAX_STREAMS,
  STREAMS,
  tableRegister,
} from './registers.ts';
import {
  ENTRY_COUNT,
  ENTRY_DIRTY,
  ENTRY_READ,
  ENTRY_WRITE,
  entryIndex,
  isCleanAndWritable,
  isValidEntry,
  pageAddress,
  PAGE_BYTES,
} from './table-format.ts';

export interface FlatHardwareOptions {
  /** Streams it can tell apart, 1 to 64. */
  readonly streams: number;
  /** Entries it keeps cached; the oldest goes first. */
  readonly cachedEntries: number;
}

/** What the hardware is wired to. */
export interface FlatHardwareWiring {
  /** Memory as masters and the walker see it. Both see what the CPU has stored: the walk is coherent. */
  readonly memory: MemoryPort;
  /** High while a fault is recorded. */
  readonly faultLine: InterruptLine;
}

export class FlatHardware implements MmioDevice, BusPort {
  readonly #wiring: FlatHardwareWiring;
  readonly #options: FlatHardwareOptions;
  readonly #tables: readonly ReturnType<typeof tableRegister>[];
  readonly #registers: RegisterFile;
  /** Cached entries by stream and page, oldest first. */
  readonly #cache = new Map<number, number>();

  /** @throws LabError EINVAL on a number of streams outside 1 to 64, or a negative number of cached entries */
  constructor(wiring: FlatHardwareWiring, options: FlatHardwareOptions) {
    const { streams, cachedEntries } = options;
    if (!(Number.isInteger(streams) && streams >= 1 && streams <= MAX_STREAMS && cachedEntries >= 0)) {
      throw new LabError('EINVAL', `a flat IOMMU has 1 to ${MAX_STREAMS} streams`, {
        streams,
        cachedEntries,
      });
    }
    this.#wiring = wiring;
    this.#options = options;
    this.#tables = Array.from({ length: streams }, (_, stream) => tableRegister(stream));
    this.#registers = new RegisterFile([
      STREAMS,
      CONTROL,
      INVALIDATE_PAGE,
      INVALIDATE_ALL,
      FAULT_STATUS,
      FAULT_ADDRESS,
      DOORBELLS,
      ...this.#tables,
    ]);
    this.#registers.on(STREAMS, { onRead: () => streams });
    this.#registers.on(INVALIDATE_ALL, { afterWrite: () => this.#cache.clear() });
    this.#registers.on(INVALIDATE_PAGE, { afterWrite: (iova) => this.#dropPage(iova) });
    this.#registers.on(FAULT_STATUS, {
      beforeWrite: (written) => (extract(written, FAULT_STATUS.fields.VALID) === 1 ? 0xffffffff : 0),
      afterWrite: (cleared) => {
        if (cleared !== 0) wiring.faultLine.lower();
      },
    });
    this.#tables.forEach((register, stream) => {
      this.#registers.on(register, { afterWrite: () => this.#dropStream(stream) });
    });
  }

  /** A register read, by offset in the window. */
  read32(offset: number): number {
    return this.#registers.read(offset);
  }

  /** A register write, by offset in the window. */
  write32(offset: number, value: number): void {
    this.#registers.write(offset, value);
  }

  /** An access of a master; it lies in one page. */
  access(access: BusAccess): AccessStatus {
    const { streamId, address, isWrite } = access;
    if (extract(this.#registers.get(CONTROL), CONTROL.fields.ENABLE) === 0) return 'faulted';
    const table = this.#tables[streamId];
    const index = entryIndex(address);
    const tableWord = table === undefined ? 0 : this.#registers.get(table);
    if (table === undefined || extract(tableWord, table.fields.TRANSLATE) === 0) {
      return this.#fault(access, FAULT_CAUSE.NO_TABLE);
    }
    if (address - (address % PAGE_BYTES) === DOORBELL_IOVA) return this.#ring(access);
    if (index === undefined) return this.#fault(access, FAULT_CAUSE.NO_ENTRY);
    const notesIt = isWrite && extract(tableWord, table.fields.NOTE_WRITES) === 1;
    const entry = this.#entryFor(streamId, index, tableWord & maskOf(table.fields.BASE), notesIt);
    if (entry < 0) return this.#fault(access, FAULT_CAUSE.WALK_ABORT);
    // Only what is valid is cached: a page that is mapped later needs no invalidation.
    if (!isValidEntry(entry)) return this.#fault(access, FAULT_CAUSE.NO_ENTRY);
    this.#keep(streamId, index, entry);
    if ((entry & (isWrite ? ENTRY_WRITE : ENTRY_READ)) === 0) return this.#fault(access, FAULT_CAUSE.REFUSED);
    const target = pageAddress(entry) + (address % PAGE_BYTES);
    return moveBytes(this.#wiring.memory, target as PhysAddr, access) ? 'done' : 'faulted';
  }

  /** Registers and cache as after power-on. */
  reset(): void {
    this.#registers.reset();
    this.#cache.clear();
    this.#wiring.faultLine.lower();
  }

  /** Register values by name, for people. */
  dump(): Record<string, number> {
    return { ...this.#registers.dump(), STREAMS: this.#options.streams };
  }

  /** The doorbell page stands in no table: a write is counted and ends there, a read finds nothing. */
  #ring(access: BusAccess): AccessStatus {
    if (!access.isWrite) return this.#fault(access, FAULT_CAUSE.NO_ENTRY);
    this.#registers.set(DOORBELLS, this.#registers.get(DOORBELLS) + 1);
    return 'done';
  }

  /**
   * The entry that serves an access, cached or from the table; negative when the table does not answer. A write that is
   * to be noted (`notesIt`) and that no dirty entry is known for looks into the table again and sets the bit there: in
   * what the table says now, so that an entry that was removed does not come back.
   */
  #entryFor(stream: number, index: number, tableBase: number, notesIt: boolean): number {
    const cached = this.#cache.get(stream * ENTRY_COUNT + index);
    if (cached !== undefined && !(notesIt && isCleanAndWritable(cached))) return cached;
    const { memory } = this.#wiring;
    const at = ((tableBase >>> 0) + 4 * index) as PhysAddr;
    const entry = memory.read32(at);
    if (entry < 0 || !(notesIt && isCleanAndWritable(entry))) return entry;
    return memory.write32(at, entry + ENTRY_DIRTY) ? entry + ENTRY_DIRTY : BUS_ERROR;
  }

  #keep(stream: number, index: number, entry: number): void {
    const key = stream * ENTRY_COUNT + index;
    if (this.#options.cachedEntries === 0 || this.#cache.get(key) === entry) return;
    const [oldest] = this.#cache.keys();
    const isFull = this.#cache.size >= this.#options.cachedEntries && !this.#cache.has(key);
    if (oldest !== undefined && isFull) this.#cache.delete(oldest);
    this.#cache.set(key, entry);
  }

  #dropPage(iova: number): void {
    const index = entryIndex(iova);
    if (index === undefined) return;
    for (let stream = 0; stream < this.#options.streams; stream++) {
      this.#cache.delete(stream * ENTRY_COUNT + index);
    }
  }

  #dropStream(stream: number): void {
    for (const key of [...this.#cache.keys()]) {
      if (Math.floor(key / ENTRY_COUNT) === stream) this.#cache.delete(key);
    }
  }

  #fault(access: BusAccess, cause: number): AccessStatus {
    const { VALID, MULTIPLE } = FAULT_STATUS.fields;
    const status = this.#registers.get(FAULT_STATUS);
    if (extract(status, VALID) === 1) {
      this.#registers.set(FAULT_STATUS, (status | maskOf(MULTIPLE)) >>> 0);
      return 'faulted';
    }
    this.#registers.set(
      FAULT_STATUS,
      encode(FAULT_STATUS, {
        VALID: 1,
        WRITE: access.isWrite ? 1 : 0,
        CAUSE: cause,
        STREAM: access.streamId,
      }),
    );
    this.#registers.set(FAULT_ADDRESS, access.address >>> 0);
    this.#wiring.faultLine.raise();
    return 'faulted';
  }
}
