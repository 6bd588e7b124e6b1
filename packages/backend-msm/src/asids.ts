/** Address space ids of one instance: each table that is current somewhere in it has one of its own (R27). */
import { assert, LabError, type World } from '@iommu-lab/machine';

interface Holding {
  readonly asid: number;
  /** Banks that use it. */
  users: number;
}

/** Gives out 1 to `lastAsid`, the lowest free one first. */
export class AsidAllocator<Table extends object> {
  readonly #world: World;
  readonly #lastAsid: number;
  readonly #holdings = new Map<Table, Holding>();
  readonly #taken = new Set<number>();

  constructor(world: World, lastAsid: number) {
    this.#world = world;
    this.#lastAsid = lastAsid;
  }

  /**
   * The ASID of `table` for one more bank: banks on one table share its entries.
   * @throws LabError ENOSPC when all are taken (failpoint `backend-msm.asid`)
   */
  acquire(table: Table): number {
    const held = this.#holdings.get(table);
    if (held !== undefined) {
      held.users++;
      return held.asid;
    }
    const asid = this.#lowestFree();
    if (asid === undefined || this.#world.fail('backend-msm.asid')) {
      throw new LabError('ENOSPC', 'no address space id is left', { lastAsid: this.#lastAsid });
    }
    this.#taken.add(asid);
    this.#holdings.set(table, { asid, users: 1 });
    return asid;
  }

  /** Whether one bank only uses the table: when it leaves, the ASID becomes free and must not be in the TLB. */
  isLastUser(table: Table): boolean {
    return this.#holdings.get(table)?.users === 1;
  }

  /** One bank fewer. */
  release(table: Table): void {
    const held = this.#holdings.get(table);
    assert(held !== undefined, 'an ASID is released by who acquired it');
    held.users--;
    if (held.users > 0) return;
    this.#holdings.delete(table);
    this.#taken.delete(held.asid);
  }

  #lowestFree(): number | undefined {
    for (let asid = 1; asid <= this.#lastAsid; asid++) if (!this.#taken.has(asid)) return asid;
    return undefined;
  }
}
