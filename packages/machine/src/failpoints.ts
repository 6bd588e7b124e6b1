/**
 * Places where a step can be made to fail. A site stands at every allocation and hardware step that can fail;
 * a test then fails the 1st, 2nd, ... nth of them and looks at what is left behind.
 */
export class Failpoints {
  #hits = new Map<string, number>();
  #total = 0;
  #failAt: number | undefined;
  #onlySite: string | undefined;

  /** Called by the code at the site. @returns whether this step must fail now. */
  shouldFail(site: string): boolean {
    this.#hits.set(site, (this.#hits.get(site) ?? 0) + 1);
    if (this.#onlySite !== undefined && this.#onlySite !== site) return false;
    this.#total++;
    return this.#total === this.#failAt;
  }

  /** Makes the `n`th step from now fail (1 = the next), counting all sites or only `site`. Forgets what was counted. */
  failNth(n: number, site?: string): void {
    this.reset();
    this.#failAt = n;
    this.#onlySite = site;
  }

  /** Nothing fails from now on; counts start at zero. */
  reset(): void {
    this.#hits = new Map();
    this.#total = 0;
    this.#failAt = undefined;
    this.#onlySite = undefined;
  }

  /** Whether the step asked for by `failNth` has been reached. */
  get hasFired(): boolean {
    return this.#failAt !== undefined && this.#total >= this.#failAt;
  }

  /** How often each site was reached since the last reset. */
  hits(): ReadonlyMap<string, number> {
    return this.#hits;
  }
}
