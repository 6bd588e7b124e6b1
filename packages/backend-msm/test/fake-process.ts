/** A process as the port has it: tables of its own, which nobody tells the driver about but by `onUnmap` and `onExit`. */
import type { ProcessSpace, WalkStep } from '@iommu-lab/iommu-core';
import type { PhysAddr } from '@iommu-lab/machine';
import { LINUX_V7S, ShortDescriptorTable, type ShortDescriptorFormat } from '@iommu-lab/page-table';
import type { System } from './fixture.ts';

export const USER_END = 0x80000000;
const PAGE = 0x1000;

/**
 * The CPU's tables mean something else than a domain's: the memory class that is cacheable here is uncached there and the
 * other way round, and AP[0] is no access flag.
 */
export const PROCESS_FORMAT: ShortDescriptorFormat = {
  ...LINUX_V7S,
  name: 'process',
  afe: 0,
  nmrr: 0x01000100,
  classes: { 'normal-cacheable': 4, 'normal-uncached': 7, device: 1 },
  accessPermissions: {
    readWrite: 0b011,
    readOnly: 0b010,
    privilegedReadWrite: 0b001,
    privilegedReadOnly: 0b101,
  },
};

export class FakeProcess implements ProcessSpace {
  readonly name: string;
  readonly tableFormat = 'armv7-short';
  readonly attributes: Readonly<Record<string, number>>;
  readonly userEnd: number;
  /** What a fault brings in, by page. */
  readonly onDemand: Map<number, { readonly address: number; readonly write: boolean }> = new Map();
  hasExited = false;
  readonly #table: ShortDescriptorTable;
  readonly #system: System;
  readonly #unmapListeners = new Set<(start: number, sizeBytes: number) => void>();
  readonly #exitListeners = new Set<() => void>();

  constructor(
    system: System,
    name: string,
    other: {
      readonly format?: ShortDescriptorFormat;
      readonly userEnd?: number;
      readonly attributes?: Readonly<Record<string, number>>;
    } = {},
  ) {
    this.name = name;
    this.#system = system;
    const format = other.format ?? PROCESS_FORMAT;
    this.#table = new ShortDescriptorTable(system.world, system.tables, format);
    this.userEnd = other.userEnd ?? USER_END;
    this.attributes = other.attributes ?? { PRRR: format.prrr, NMRR: format.nmrr, AFE: format.afe };
  }

  get tableRoot(): PhysAddr {
    return this.#table.root;
  }

  map(
    at: number,
    address: number,
    rights: { write?: boolean; privileged?: boolean; size?: number } = {},
  ): void {
    this.#table.mapPages(at, address, rights.size ?? PAGE, 1, {
      read: true,
      write: rights.write ?? true,
      privileged: rights.privileged ?? false,
      noExec: true,
      memory: 'normal-cacheable',
    });
  }

  /** Clears descriptors, tells who listens, and only then frees tables. */
  unmap(at: number, pages: number = 1, size: number = PAGE): void {
    const freed: (() => void)[] = [];
    this.#table.unmapPages(at, size, pages, (table, sizeBytes) => {
      freed.push(() => this.#system.tables.free(table, sizeBytes));
    });
    for (const listener of this.#unmapListeners) listener(at, pages * size);
    for (const free of freed) free();
  }

  exit(): void {
    this.hasExited = true;
    for (const listener of this.#exitListeners) listener();
    this.#table.destroy();
  }

  lookup(address: number): PhysAddr | undefined {
    return this.#table.lookup(address)?.address;
  }

  walk(address: number): readonly WalkStep[] {
    return this.#table.walk(address);
  }

  /** Brings the page in, or widens its rights without telling anybody, as a CPU's fault handler would. */
  handleFault(address: number, direction: 'read' | 'write' | 'execute'): boolean {
    const page = address - (address % PAGE);
    const there = this.onDemand.get(page);
    if (direction === 'execute') return false; // its pages are data
    if (there === undefined || (direction === 'write' && !there.write)) return false;
    if (this.#table.lookup(page) !== undefined) this.#table.unmapPages(page, PAGE, 1, () => undefined);
    this.map(page, there.address, { write: direction === 'write' });
    return true;
  }

  onUnmap(listener: (start: number, sizeBytes: number) => void): () => void {
    this.#unmapListeners.add(listener);
    return () => this.#unmapListeners.delete(listener);
  }

  onExit(listener: () => void): () => void {
    this.#exitListeners.add(listener);
    return () => this.#exitListeners.delete(listener);
  }
}
