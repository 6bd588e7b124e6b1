import type { Device } from './device.ts';

/**
 * A driver: which devices it serves and how it takes and leaves one.
 *
 * `probe` may throw LabError EPROBE_DEFER (what it needs is not there yet: it is tried again after the next bind),
 * ENODEV or ENXIO (it declines; the device stays unbound without a complaint), or anything else (the failure is
 * recorded and reported as an event). Whatever it throws, it has undone what it did.
 */
export interface Driver {
  readonly name: string;
  matches(device: Device): boolean;
  probe(device: Device): void;
  /** Must not fail. Called before the bus cleans the device's configuration up. */
  remove?(device: Device): void;
}
