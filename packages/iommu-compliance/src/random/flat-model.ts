/** The model of the random checks: pages in a list, bytes in arrays. It knows no table, no TLB, no page sizes. */
import { ACCESS_PAGE_BYTES } from '@iommu-lab/machine';

/** Rights of one page and the RAM page it leads to. */
export interface ModelPage {
  readonly to: number;
  readonly read: boolean;
  readonly write: boolean;
}

export class FlatModel {
  readonly #granule: number;
  readonly #ram: Uint8Array;
  readonly #domains = new Map<number, (ModelPage | undefined)[]>();
  /** Where something was unmapped, the latest first. */
  readonly #gone = new Map<number, number[]>();

  /** @param ram what the RAM holds at the start; the model works on a copy */
  constructor(granule: number, ram: Uint8Array) {
    this.#granule = granule;
    this.#ram = ram.slice();
  }

  /** What the RAM must hold. */
  get ram(): Uint8Array {
    return this.#ram;
  }

  isFree(domain: number, at: number, count: number): boolean {
    return this.#pages(domain)
      .slice(at, at + count)
      .every((page) => page === undefined);
  }

  /** How many pages are mapped from `at` on without a hole. */
  runLength(domain: number, at: number): number {
    const pages = this.#pages(domain);
    let length = 0;
    while (pages[at + length] !== undefined) length++;
    return length;
  }

  map(
    domain: number,
    at: number,
    to: number,
    count: number,
    rights: { read: boolean; write: boolean },
  ): void {
    const pages = this.#pages(domain);
    for (let i = 0; i < count; i++) pages[at + i] = { to: to + i, ...rights };
  }

  unmap(domain: number, at: number, count: number): void {
    this.#pages(domain).fill(undefined, at, at + count);
    const gone = this.#gone.get(domain) ?? [];
    for (let i = 0; i < count; i++) gone.unshift(at + i);
    this.#gone.set(domain, gone);
  }

  /** The page that `index` aims at: the `index`th that is mapped, or was unmapped; itself where there is none. */
  aim(domain: number, index: number, aim: 'mapped' | 'unmapped' | 'any'): number {
    const pages = this.#pages(domain);
    const mapped = aim === 'mapped' ? [...pages.keys()].filter((i) => pages[i] !== undefined) : [];
    const places = aim === 'unmapped' ? (this.#gone.get(domain) ?? []) : mapped;
    return places[index % places.length] ?? index;
  }

  /**
   * What a transfer comes to, access by access; a write changes the RAM as far as it gets.
   * @param domain undefined: nothing is mapped; @param at bytes from the start of the window
   */
  transfer(
    domain: number | undefined,
    at: number,
    sent: Uint8Array,
    isWrite: boolean,
  ): { readonly state: 'done' | 'faulted'; readonly doneBytes: number; readonly data: Uint8Array } {
    const pages = domain === undefined ? [] : this.#pages(domain);
    const data = new Uint8Array(sent.length);
    for (let done = 0; done < sent.length;) {
      const address = at + done;
      const length = Math.min(sent.length - done, ACCESS_PAGE_BYTES - (address % ACCESS_PAGE_BYTES));
      const page = pages[Math.floor(address / this.#granule)];
      if (page === undefined || !(isWrite ? page.write : page.read))
        return { state: 'faulted', doneBytes: done, data };
      const from = page.to * this.#granule + (address % this.#granule);
      if (isWrite) this.#ram.set(sent.subarray(done, done + length), from);
      else data.set(this.#ram.subarray(from, from + length), done);
      done += length;
    }
    return { state: 'done', doneBytes: sent.length, data };
  }

  #pages(domain: number): (ModelPage | undefined)[] {
    let pages = this.#domains.get(domain);
    if (pages === undefined) {
      pages = Array.from({ length: this.#ram.length / this.#granule }, () => undefined);
      this.#domains.set(domain, pages);
    }
    return pages;
  }
}
