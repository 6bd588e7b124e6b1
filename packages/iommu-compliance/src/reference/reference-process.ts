/** A process whose tables are a map, in a format that only the reference IOMMU walks. */
import type { ProcessSpace, ProcessTable, WalkStep } from '@iommu-lab/iommu-core';
import type { PhysAddr } from '@iommu-lab/machine';
import type { ComplianceProcess } from '../fixture.ts';
import type { Leaf, ReferenceHost } from './reference-table.ts';

/** The format, as a manifest names it. */
export const REFERENCE_FORMAT = 'compliance-map';
/** Bytes of a page of such a process. */
export const PROCESS_PAGE_BYTES = 0x1000;

const USER_END = 0x8000_0000;
const FIRST_ADDRESS = 0x10_0000;

/** RAM as the process needs it. */
export interface ProcessMemory {
  allocate(): number;
  load(address: number, into: Uint8Array): void;
  store(address: number, from: Uint8Array): void;
}

interface Area {
  readonly start: number;
  readonly sizeBytes: number;
  readonly isReadOnly: boolean;
}

/** A process of the kit's own. */
export class ReferenceProcess implements ComplianceProcess {
  readonly name: string;
  readonly tableFormat: string;
  readonly tableRoot: PhysAddr = 0x4000 as PhysAddr;
  readonly attributes: Readonly<Record<string, number>> = {};
  readonly userEnd: number = USER_END;
  hasExited = false;
  readonly #memory: ProcessMemory;
  readonly #areas: Area[] = [];
  readonly #pages = new Map<number, Leaf>();
  readonly #unmapListeners = new Set<(start: number, sizeBytes: number) => void>();
  readonly #exitListeners = new Set<() => void>();
  #next = FIRST_ADDRESS;

  constructor(name: string, memory: ProcessMemory, tableFormat: string = REFERENCE_FORMAT) {
    this.name = name;
    this.tableFormat = tableFormat;
    this.#memory = memory;
    // A page of the kernel's, which no device may reach.
    this.#put(USER_END, false);
  }

  /** How many listen to it. */
  get listeners(): number {
    return this.#unmapListeners.size + this.#exitListeners.size;
  }

  mmap(sizeBytes: number, options: { readonly lazy?: boolean; readonly readOnly?: boolean } = {}): number {
    const start = this.#next;
    const area = { start, sizeBytes, isReadOnly: options.readOnly === true };
    this.#areas.push(area);
    this.#next += sizeBytes;
    for (let at = start; at < start + sizeBytes && options.lazy !== true; at += PROCESS_PAGE_BYTES) {
      this.#put(at, area.isReadOnly);
    }
    return start;
  }

  munmap(address: number, sizeBytes: number): void {
    const index = this.#areas.findIndex((a) => a.start === address && a.sizeBytes === sizeBytes);
    this.#areas.splice(index, 1);
    for (let at = address; at < address + sizeBytes; at += PROCESS_PAGE_BYTES) this.#pages.delete(at);
    for (const listener of this.#unmapListeners) listener(address, sizeBytes);
  }

  read(address: number, into: Uint8Array): void {
    this.handleFault(address, 'read');
    this.#memory.load(this.lookup(address) ?? 0, into);
  }

  write(address: number, from: Uint8Array): void {
    this.handleFault(address, 'write');
    this.#memory.store(this.lookup(address) ?? 0, from);
  }

  exit(): void {
    for (const listener of this.#exitListeners) listener();
    this.hasExited = true;
    this.#areas.length = 0;
    this.#pages.clear();
  }

  /** The page in which an address lies, as the reference IOMMU walks it. */
  find(address: number): Leaf | undefined {
    return this.#pages.get(address - (address % PROCESS_PAGE_BYTES));
  }

  lookup(address: number): PhysAddr | undefined {
    const leaf = this.find(address);
    return leaf && ((leaf.address + address - leaf.iova) as PhysAddr);
  }

  walk(address: number): readonly WalkStep[] {
    const meaning = this.find(address) === undefined ? 'no page' : 'a page of the process';
    return [{ level: 'map', address: 0, descriptor: 0, meaning }];
  }

  handleFault(address: number, direction: 'read' | 'write' | 'execute'): boolean {
    const area = this.#areas.find((a) => address >= a.start && address < a.start + a.sizeBytes);
    if (this.hasExited || area === undefined || (direction === 'write' && area.isReadOnly)) return false;
    if (this.find(address) === undefined) {
      this.#put(address - (address % PROCESS_PAGE_BYTES), area.isReadOnly);
    }
    return true;
  }

  onUnmap(listener: (start: number, sizeBytes: number) => void): () => void {
    this.#unmapListeners.add(listener);
    return () => {
      this.#unmapListeners.delete(listener);
    };
  }

  onExit(listener: () => void): () => void {
    this.#exitListeners.add(listener);
    return () => {
      this.#exitListeners.delete(listener);
    };
  }

  #put(iova: number, isReadOnly: boolean): void {
    const address = this.#memory.allocate();
    this.#memory.store(address, new Uint8Array(PROCESS_PAGE_BYTES));
    this.#pages.set(iova, {
      iova,
      address,
      pageSize: PROCESS_PAGE_BYTES,
      protection: { read: true, write: !isReadOnly },
      isDirty: false,
    });
  }
}

/** Such a process's tables behind the driver port. */
export class ReferenceProcessTable implements ProcessTable {
  readonly #space: ReferenceProcess;
  readonly #host: ReferenceHost;

  constructor(host: ReferenceHost, space: ProcessSpace) {
    this.#host = host;
    this.#space = space as ReferenceProcess;
    host.allocatedBytes++;
  }

  /** The page at `address`: the kernel's half is nobody's but the kernel's. */
  find(address: number): Leaf | undefined {
    const isUsers = address < this.#space.userEnd || this.#host.defect === 'process-reaches-kernel';
    const leaf = isUsers ? this.#space.find(address) : undefined;
    if (leaf === undefined || this.#host.defect !== 'process-rights-ignored') return leaf;
    return { ...leaf, protection: { read: true, write: true } };
  }

  invalidate(iova: number, sizeBytes: number): void {
    if (this.#host.defect !== 'process-unmap-not-heard') this.#host.invalidate(iova, sizeBytes);
  }

  destroy(): void {
    if (this.#host.defect !== 'process-table-leak') this.#host.allocatedBytes--;
  }
}
