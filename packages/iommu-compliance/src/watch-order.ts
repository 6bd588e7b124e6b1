/**
 * The order in which the accesses of one stream see the old and the new table: between any two steps of a switch several
 * pages are read, there and back.
 */
import { hex } from '@iommu-lab/machine';
import { type Bench, MARK_BYTES, type Side } from './bench.ts';
import { demand, sameBytes } from './demand.ts';

/** An IOVA that both tables map. */
export interface TwoPlaces {
  readonly iova: number;
  readonly oldAddress: number;
  readonly newAddress: number;
}

/**
 * Runs `act`, which moves the side from a table to another (what the TLB has of them is up to the caller), and demands that each read sees one of the two and, for
 * `atomic`, that none sees the old table after one that saw the new.
 */
export function watchOrder(bench: Bench, side: Side, places: readonly TwoPlaces[], act: () => void): void {
  const { switchKind } = bench.instanceOf(side).capabilities;
  const marks = places.map(({ oldAddress, newAddress }) => ({
    old: bench.markAt(oldAddress),
    new: bench.markAt(newAddress),
  }));
  /** In the order in which the accesses were made, those that waited included. */
  const seen: { readonly what: string; readonly table: 'old' | 'new' }[] = [];
  /** Not thrown where they are found, which is inside the driver. */
  const wrong: string[] = [];
  let steps = 0;
  let ended = 0;
  let issued = 0;
  /**
   * One more page from step to step, so that at each of them some pages are in the TLB from an earlier one and one is not;
   * there and back, so that an old one behind a new one shows.
   */
  const pagesOf = (step: number): readonly number[] => {
    const indices = places.map((_, i) => i).filter((i) => i <= step || i === places.length - 1);
    return [...indices, ...indices.toReversed()];
  };
  const issue = (step: string): void => {
    for (const index of pagesOf(steps)) {
      const place = places[index] as TwoPlaces;
      const mark = marks[index] as (typeof marks)[number];
      const what = `${side.master.name}: a read at ${hex(place.iova)}, ${step},`;
      const data = new Uint8Array(MARK_BYTES);
      issued++;
      side.master.read(place.iova, data).onEnd((state) => {
        ended++;
        if (state === 'faulted') {
          if (switchKind !== 'disruptive') wrong.push(`${what} was refused`);
        } else if (sameBytes(data, mark.old)) seen.push({ what, table: 'old' });
        else if (sameBytes(data, mark.new)) seen.push({ what, table: 'new' });
        else wrong.push(`${what} returned what neither table leads to`);
      });
    }
    steps++;
  };
  const stop = bench.world.interposer.observe((kind, address) =>
    issue(`step ${steps} (${kind} at ${hex(address)})`),
  );
  try {
    act();
  } finally {
    stop();
  }
  steps = places.length;
  issue('after the last step');
  bench.fixture.settle();
  demand(wrong.length === 0, wrong[0] ?? '');
  demand(ended === issued, `${issued - ended} reads of a switch hang`);
  if (switchKind !== 'atomic') return;
  const firstNew = seen.findIndex(({ table }) => table === 'new');
  const late = seen.find(({ table }, i) => i > firstNew && table === 'old');
  demand(firstNew < 0 || late === undefined, `${late?.what} saw the old table after one had seen the new`);
}
