/**
 * What a pool reports: the kernel's event swiotlb_bounced (include/trace/events/swiotlb.h), and its message that the buffer is
 * full, as often as the kernel's log lets that through: ten times in five seconds (include/linux/ratelimit_types.h).
 */
import { hex, type World } from '@iommu-lab/machine';
import type { ExplainedSlot } from './explain-bounce.ts';

const BURST = 10;
const WINDOW_NS = 5_000_000_000;

export class BounceEvents {
  readonly #world: World;
  #windowStart = 0;
  #inWindow = 0;
  /** Reports of a full pool held back since the last one that was not. */
  #suppressed = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** `dma_mask` is the highest address of memory the device reaches, and `dev_addr` where the buffer is. */
  bounced(slot: ExplainedSlot): void {
    if (!this.#world.events.isObserved) return;
    this.#world.emit('swiotlb:bounced', {
      dev_name: slot.deviceName,
      dma_mask: hex(Math.max(0, slot.limit)),
      dev_addr: hex(slot.original),
      size: slot.sizeBytes,
      force: slot.reason === 'forced',
      reason: slot.reason,
      tlb_addr: hex(slot.address),
      site: slot.site,
    });
  }

  /** @param sizeBytes what was asked for, in whole slots; `total` and `used` are slots */
  full(deviceName: string, sizeBytes: number, total: number, used: number): void {
    const { now } = this.#world.clock;
    if (now - this.#windowStart >= WINDOW_NS) {
      this.#windowStart = now;
      this.#inWindow = 0;
    }
    if (this.#inWindow >= BURST) {
      this.#suppressed++;
      return;
    }
    this.#inWindow++;
    const suppressed = this.#suppressed;
    this.#suppressed = 0;
    this.#world.emit('swiotlb:full', { dev_name: deviceName, size: sizeBytes, total, used, suppressed });
  }
}
