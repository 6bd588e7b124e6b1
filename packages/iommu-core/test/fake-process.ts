/** A fake process: pages in a map, an area in which more can be brought in, and a log of what it does when. */
import { hex, type PhysAddr } from '@iommu-lab/machine';
import type { ProcessSpace, WalkStep } from '../src/index.ts';
import { K } from './fake-iommu.ts';

export const FORMAT = 'fake-process';

export class FakeProcess implements ProcessSpace {
  readonly name: string;
  readonly tableFormat: string;
  readonly tableRoot: PhysAddr = 0x4000_0000 as PhysAddr;
  readonly attributes: Readonly<Record<string, number>> = {};
  readonly userEnd: number = 0xc000_0000;
  readonly pages: Map<number, PhysAddr> = new Map();
  /** Addresses below this one can be brought in. */
  areaEnd = 0x10_0000;
  hasExited = false;
  readonly #log: string[];
  readonly #unmapListeners = new Set<(start: number, sizeBytes: number) => void>();
  readonly #exitListeners = new Set<() => void>();

  /** @param log takes `freed ...` when a page is somebody else's, and `tables gone` */
  constructor(name: string, log: string[] = [], tableFormat: string = FORMAT) {
    this.name = name;
    this.#log = log;
    this.tableFormat = tableFormat;
  }

  /** Who listens to it now. */
  get listenerCount(): number {
    return this.#unmapListeners.size + this.#exitListeners.size;
  }

  lookup(address: number): PhysAddr | undefined {
    const page = this.pages.get(address - (address % (4 * K)));
    return page && ((page + (address % (4 * K))) as PhysAddr);
  }

  walk(address: number): readonly WalkStep[] {
    const page = this.lookup(address);
    const meaning = page === undefined ? 'nothing' : `page at ${hex(page)}`;
    return [{ level: 'process table', address: this.tableRoot, descriptor: page ?? 0, meaning }];
  }

  handleFault(address: number, direction: 'read' | 'write' | 'execute'): boolean {
    this.#log.push(`page in ${hex(address)} ${direction}`);
    if (address >= this.areaEnd) return false;
    const page = address - (address % (4 * K));
    this.pages.set(page, (0x8000_0000 + page) as PhysAddr);
    return true;
  }

  onUnmap(listener: (start: number, sizeBytes: number) => void): () => void {
    this.#unmapListeners.add(listener);
    return () => void this.#unmapListeners.delete(listener);
  }

  onExit(listener: () => void): () => void {
    this.#exitListeners.add(listener);
    return () => void this.#exitListeners.delete(listener);
  }

  unmap(start: number, sizeBytes: number): void {
    for (let at = start; at < start + sizeBytes; at += 4 * K) this.pages.delete(at);
    for (const listener of [...this.#unmapListeners]) listener(start, sizeBytes);
    this.#log.push(`freed ${hex(start)}+${sizeBytes}`);
  }

  exit(): void {
    for (const listener of [...this.#exitListeners]) listener();
    this.#exitListeners.clear();
    this.pages.clear();
    this.hasExited = true;
    this.#log.push('tables gone');
  }
}
