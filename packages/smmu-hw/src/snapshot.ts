/** The whole state of an instance as plain data: what `JSON.stringify` keeps. */
import { LabError, type BusAccess } from '@iommu-lab/machine';
import type { ResolvedConfig } from './config.ts';
import type { FetchBufferSnapshot } from './fetch-buffer.ts';
import type { GlobalPageSnapshot } from './global-page.ts';
import { parkedIn, type ParkedAccess, type StallSnapshot } from './stall.ts';
import type { SmmuCounters } from './statistics.ts';
import type { TlbSnapshot } from './tlb.ts';

/** What a snapshot can only be restored into: everything of the configuration but name and tracing. */
export type SmmuShape = Omit<ResolvedConfig, 'name' | 'traceAccesses'>;

/** What `SmmuSnapshot` looks like; another number is another layout. */
export const SNAPSHOT_FORMAT = 1;

/** The state of one instance. */
export interface SmmuSnapshot {
  readonly format: number;
  readonly shape: SmmuShape;
  readonly global: GlobalPageSnapshot;
  readonly banks: readonly {
    readonly registers: Readonly<Record<string, number>>;
    readonly stall: StallSnapshot;
  }[];
  /** Answers on their way, oldest first: 2 x bank for one of RESUME, one more for a stall that was ended. */
  readonly due: readonly number[];
  readonly tlb: TlbSnapshot;
  readonly fetchBuffer: FetchBufferSnapshot;
  readonly statistics: SmmuCounters;
}

/** The shape of an instance with this configuration. */
export function shapeOf({ name: _name, traceAccesses: _traces, ...shape }: ResolvedConfig): SmmuShape {
  return shape;
}

/**
 * The live access of its owner for each that the instance held.
 * @throws LabError EINVAL if there are some and nobody gives them.
 */
export function liveAccesses(
  name: string,
  snapshot: SmmuSnapshot,
  reissue: ((parked: ParkedAccess) => BusAccess) | undefined,
): ReadonlyMap<ParkedAccess, BusAccess> {
  const live = new Map<ParkedAccess, BusAccess>();
  for (const parked of snapshot.banks.flatMap(({ stall }) => parkedIn(stall))) {
    if (reissue === undefined) {
      const { masterName, streamId } = parked;
      throw new LabError('EINVAL', `${name}: the snapshot holds an access of ${masterName}: reissue it`, {
        masterName,
        streamId,
      });
    }
    live.set(parked, reissue(parked));
  }
  return live;
}

/** @throws LabError EINVAL unless the snapshot is of an instance of that shape, and of this format. */
export function checkShape(config: ResolvedConfig, snapshot: SmmuSnapshot): void {
  if (snapshot.format !== SNAPSHOT_FORMAT) {
    throw new LabError(
      'EINVAL',
      `${config.name}: a snapshot of format ${snapshot.format}, not ${SNAPSHOT_FORMAT}`,
    );
  }
  const mine: Readonly<Record<string, unknown>> = flatten(shapeOf(config));
  const theirs: Readonly<Record<string, unknown>> = flatten(snapshot.shape);
  const different = Object.keys(mine).find((key) => mine[key] !== theirs[key]);
  if (different === undefined) return;
  throw new LabError('EINVAL', `${config.name}: the snapshot is of an instance with another ${different}`, {
    here: mine[different],
    there: theirs[different],
  });
}

function flatten({ readings, ...rest }: SmmuShape): Record<string, unknown> {
  return { ...rest, ...readings };
}
