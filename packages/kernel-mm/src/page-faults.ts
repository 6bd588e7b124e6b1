/** Demand paging: what becomes of an access that found no page, or one that refuses it (the kernel's handle_mm_fault). */
import {
  alignDown,
  hex,
  isLabError,
  LabError,
  offsetBy,
  virtAddr,
  type VirtAddr,
  type World,
} from '@iommu-lab/machine';
import type { Area, Areas } from './areas.ts';
import { FRAME_BYTES } from './frame-allocator.ts';
import type { UserPages } from './user-pages.ts';

/** What an access does with memory; `execute` fetches an instruction. */
export type AccessDirection = 'read' | 'write' | 'execute';

/** Who touched the page. */
type Toucher = 'cpu' | 'pin' | 'device';

export class PageFaults {
  readonly #world: World;
  readonly #process: string;
  readonly #areas: Areas;
  readonly #pages: UserPages;

  constructor(world: World, process: string, areas: Areas, pages: UserPages) {
    this.#world = world;
    this.#process = process;
    this.#areas = areas;
    this.#pages = pages;
  }

  /**
   * Brings in what is not present of a range.
   * @throws LabError EFAULT unless all of it lies in areas that allow the access or the pin, and nothing has come in; ENOMEM, and
   * what came in before stays, as it was touched.
   */
  touch(by: Toucher, address: VirtAddr, sizeBytes: number, direction: AccessDirection): void {
    const areas = this.#areas.covering(address, sizeBytes);
    const why = whyRefused(areas, by, direction);
    if (areas === undefined || why !== undefined) {
      throw new LabError('EFAULT', `${this.#process}: ${direction} at ${hex(address)}: ${why}`, {
        address,
        sizeBytes,
      });
    }
    const end = address + sizeBytes;
    for (const area of areas) {
      const first = alignDown(virtAddr(Math.max(area.start, address)), FRAME_BYTES);
      for (let page = first; page < Math.min(area.end, end); page = offsetBy(page, FRAME_BYTES)) {
        if (!this.#pages.isPresent(page)) this.#bringIn(by, page, area, direction);
      }
    }
  }

  /** @returns whether the access of a device succeeds when it is made again */
  serveDevice(address: number, direction: AccessDirection): boolean {
    const area = this.#areas.at(address);
    if (area === undefined) return this.#refuse(address, direction, 'no area');
    if (!allows(area, direction)) {
      return this.#refuse(address, direction, direction === 'write' ? 'read-only' : 'no-execute');
    }
    const page = alignDown(virtAddr(address), FRAME_BYTES);
    if (this.#pages.isPresent(page)) {
      this.#emit('device', page, direction, 'present');
      return true;
    }
    try {
      this.#bringIn('device', page, area, direction);
      return true;
    } catch (error) {
      if (!isLabError(error)) throw error;
      return false;
    }
  }

  #bringIn(by: Toucher, page: VirtAddr, area: Area, direction: AccessDirection): void {
    let outcome = 'no memory';
    try {
      if (this.#world.fail('kernel-mm.fault-in')) {
        throw new LabError('ENOMEM', `${this.#process}: cannot bring in the page at ${hex(page)}`);
      }
      outcome = this.#pages.bringIn(page, area.isReadOnly);
    } finally {
      this.#emit(by, page, direction, outcome);
    }
  }

  #refuse(address: number, direction: AccessDirection, outcome: string): false {
    this.#emit('device', address, direction, outcome);
    return false;
  }

  #emit(by: Toucher, address: number, access: AccessDirection, outcome: string): void {
    this.#world.emit('mm:fault', { process: this.#process, address: hex(address), by, access, outcome });
  }
}

function whyRefused(
  areas: readonly Area[] | undefined,
  by: Toucher,
  direction: AccessDirection,
): string | undefined {
  if (areas === undefined) return 'not all of it is mapped';
  if (!areas.every((area) => allows(area, direction))) return 'part of it is read-only';
  // Whoever gave the frames may take them back: a pin of the process's could not hold them (get_user_pages, VM_PFNMAP).
  if (by === 'pin' && areas.some((area) => area.isGiven)) return 'part of it is not its own memory';
  return undefined;
}

/** User memory is data: nobody executes it, device or CPU. */
function allows(area: Area, direction: AccessDirection): boolean {
  return direction === 'read' || (direction === 'write' && !area.isReadOnly);
}
