/** What random drivers are made of. A step says what to do in numbers that always mean something: indexes wrap, ranges are cut. */
import fc from 'fast-check';
import type { DmaDirection } from '../../src/index.ts';

/** Pages of the arena that programs use. */
export const ARENA_PAGES = 6;
export const ARENA_USED: number = ARENA_PAGES * 4096;
/** No entry of a scatter list is longer: it is what the devices of all ways take in one segment. */
export const LONGEST_ENTRY = 6000;

/** How a streaming buffer is mapped, and with which options. */
export type MapForm = 'single' | 'page' | 'sg' | 'table';
export type MapVariant = 'plain' | 'own-sync' | 'error-as-value' | 'require-coherent' | 'privileged';
export type AllocForm = 'coherent' | 'noncoherent' | 'noncontiguous' | 'block';
export type Release = 'whole' | 'two-calls' | 'by-piece' | 'again';

export interface Place {
  readonly at: number;
  readonly length: number;
}

/** A range in one of the buffers. */
export interface InBuffer extends Place {
  readonly which: number;
  readonly value: number;
}

export type Step =
  | (Place & { readonly kind: 'store' | 'load'; readonly value: number })
  | (InBuffer & {
      readonly kind: 'buffer-store' | 'buffer-load' | 'device-read' | 'device-write' | 'trespass';
    })
  | (InBuffer & { readonly kind: 'late-access'; readonly isWrite: boolean })
  | {
      readonly kind: 'map';
      readonly form: MapForm;
      readonly variant: MapVariant;
      readonly places: readonly Place[];
      readonly direction: DmaDirection;
    }
  | {
      readonly kind: 'reserve';
      readonly pages: readonly number[];
      readonly inPage: number;
      readonly lastLength: number;
      readonly direction: DmaDirection;
    }
  | {
      readonly kind: 'alloc';
      readonly form: AllocForm;
      readonly length: number;
      readonly isContiguous: boolean;
      readonly direction: DmaDirection;
    }
  | (Place & { readonly kind: 'resource'; readonly direction: DmaDirection; readonly value: number })
  | { readonly kind: 'sync'; readonly which: number }
  | { readonly kind: 'sync-part'; readonly which: number; readonly at: number; readonly length: number }
  | { readonly kind: 'release'; readonly which: number; readonly how: Release }
  | { readonly kind: 'time'; readonly ns: number }
  | { readonly kind: 'flush' }
  | { readonly kind: 'cpu'; readonly cpu: number };

export type StepKind = Step['kind'];

const at = fc.oneof(
  fc.nat(ARENA_USED - 1),
  fc.nat(ARENA_USED / 64 - 1).map((line) => line * 64),
  fc.nat(ARENA_PAGES - 1).map((index) => index * 4096),
);
const length = fc.oneof(
  { weight: 5, arbitrary: fc.integer({ min: 1, max: 200 }) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: LONGEST_ENTRY }) },
  { weight: 1, arbitrary: fc.constant(4096) },
);
const page = fc.nat(ARENA_PAGES - 1).map((index) => index * 4096);
const place: fc.Arbitrary<Place> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ at, length }) },
  // Pages, which become one segment where there is an IOMMU.
  { weight: 1, arbitrary: fc.record({ at: page, length: fc.constantFrom(4096, 4096, 1000) }) },
);
const which = fc.nat(9);
const value = fc.nat(126);
const inBuffer = { which, at: fc.nat(7000), length, value };
const direction = fc.constantFrom<DmaDirection>('to-device', 'from-device', 'bidirectional');

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constantFrom('store' as const, 'load' as const), at, length, value }),
  },
  {
    weight: 22,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        ...(['buffer-store', 'buffer-load', 'device-read', 'device-write'] as const),
        ...(['device-read', 'device-write', 'trespass'] as const),
      ),
      ...inBuffer,
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('map' as const),
      form: fc.constantFrom<MapForm>('single', 'page', 'sg', 'sg', 'table'),
      variant: fc.constantFrom<MapVariant>(
        ...(['plain', 'plain', 'plain', 'own-sync'] as const),
        ...(['error-as-value', 'require-coherent', 'privileged'] as const),
      ),
      places: fc.array(place, { minLength: 1, maxLength: 6 }),
      direction,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('reserve' as const),
      pages: fc.uniqueArray(fc.nat(ARENA_PAGES - 1), { minLength: 1, maxLength: 3 }),
      inPage: fc.oneof(
        fc.constant(0),
        fc.nat(4095),
        fc.nat(63).map((line) => line * 64),
      ),
      lastLength: fc.oneof(fc.constant(4096), fc.integer({ min: 1, max: 4096 })),
      direction,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('alloc' as const),
      form: fc.constantFrom<AllocForm>('coherent', 'noncoherent', 'noncontiguous', 'block'),
      length: fc.integer({ min: 1, max: 9000 }),
      isContiguous: fc.boolean(),
      direction,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('resource' as const), at, length, direction, value }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('sync' as const), which }) },
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constant('sync-part' as const), which, at: fc.nat(7000), length }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('release' as const),
      which,
      how: fc.constantFrom<Release>('whole', 'whole', 'two-calls', 'by-piece', 'again'),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('late-access' as const), ...inBuffer, isWrite: fc.boolean() }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('time' as const), ns: fc.nat(6_000_000) }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: 'flush' as const }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('cpu' as const), cpu: fc.nat(3) }) },
);

export const program: fc.Arbitrary<Step[]> = fc.array(step, { minLength: 5, maxLength: 90, size: 'max' });

/** Bytes that differ from their neighbours. None is 0, and none above 127: those are what strangers write. */
export function pattern(size: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let i = 0; i < size; i++) bytes[i] = 1 + ((seed + i * 7) % 127);
  return bytes;
}
