/** The whole state of an instance as plain data: what `JSON.stringify` keeps. */
import { LabError } from '@iommu-lab/machine';
import type { ResolvedConfig } from './config.ts';
import type { FetchBufferSnapshot } from './fetch-buffer.ts';
import type { GlobalPageSnapshot } from './global-page.ts';
import { parkedIn, type ParkedAccess, type StallSnapshot } from './stall.ts';
import type { SmmuCounters } from './statistics.ts';
import type { TlbSnapshot } from './tlb.ts';

/** What a snapshot can only be restored into: everything of the configuration but name and tracing. */
export type SmmuShape = Omit<ResolvedConfig, 'name' | 'traceAccesses'>;

/** The state of one instance. */
export interface SmmuSnapshot {
  readonly shape: SmmuShape;
  readonly global: GlobalPageSnapshot;
  readonly banks: readonly {
    readonly registers: Readonly<Record<string, number>>;
    readonly stall: StallSnapshot;
  }[];
  readonly tlb: TlbSnapshot;
  readonly fetchBuffer: FetchBufferSnapshot;
  readonly statistics: SmmuCounters;
}

/** The shape of an instance with this configuration. */
export function shapeOf({ name: _name, traceAccesses: _traces, ...shape }: ResolvedConfig): SmmuShape {
  return shape;
}

/** Every access that the instance held, bank by bank. */
export function parkedAccesses(snapshot: SmmuSnapshot): readonly ParkedAccess[] {
  return snapshot.banks.flatMap(({ stall }) => parkedIn(stall));
}

/** @throws LabError EINVAL unless the snapshot is of an instance of that shape. */
export function checkShape(config: ResolvedConfig, snapshot: SmmuSnapshot): void {
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
