/** The hardware: each stream has a table of 1024 entries in memory, and a latch that remembers the last one used. */
import {
  type AccessStatus,
  type BusAccess,
  type BusPort,
  type InterruptLine,
  type MemoryPort,
  type MmioDevice,
  moveBytes,
  type PhysAddr,
} from '@iommu-lab/machine';

export const STREAMS: readonly number[] = [0, 1, 2, 3];
export const PAGE_BYTES = 0x1000;
export const TABLE_BYTES = 0x1000;
export const FIRST_IOVA = 0x4000_0000;
export const LAST_IOVA = 0x403f_ffff;

/** Offsets of the registers. TABLE of stream n stands at 4 * n: a table's address, or 0 to refuse everything. */
export const REGISTERS = { FORGET: 0x10, FAULT: 0x14, FAULT_IOVA: 0x18, sizeBytes: 0x1c } as const;
/** Bits of an entry; bits 31 to 12 are the page's address. */
export const ENTRY = { VALID: 1, WRITABLE: 2 } as const;
/** Bits of FAULT; bits 15 to 8 are the stream. A write to the register clears it. */
export const FAULT = { RECORDED: 1, WRITE: 2, REFUSED: 4, MORE: 8 } as const;

export class TinyHardware implements BusPort, MmioDevice {
  readonly #memory: MemoryPort;
  readonly #faultLine: InterruptLine;
  readonly #tables = new Uint32Array(STREAMS.length);
  readonly #latches = new Map<number, { readonly page: number; readonly entry: number }>();
  #fault = 0;
  #faultIova = 0;

  constructor(memory: MemoryPort, faultLine: InterruptLine) {
    this.#memory = memory;
    this.#faultLine = faultLine;
  }

  /** An access of a master, within one page. */
  access(access: BusAccess): AccessStatus {
    const { streamId, address, isWrite } = access;
    const entry = this.#entryFor(streamId, address);
    if ((entry & ENTRY.VALID) === 0) return this.#refuse(access, 0);
    if (isWrite && (entry & ENTRY.WRITABLE) === 0) return this.#refuse(access, FAULT.REFUSED);
    const target = entry - (entry % PAGE_BYTES) + (address % PAGE_BYTES);
    return moveBytes(this.#memory, target as PhysAddr, access) ? 'done' : 'faulted';
  }

  read32(offset: number): number {
    if (offset === REGISTERS.FAULT) return this.#fault;
    if (offset === REGISTERS.FAULT_IOVA) return this.#faultIova;
    return this.#tables[offset / 4] ?? 0;
  }

  write32(offset: number, value: number): void {
    if (offset === REGISTERS.FORGET) this.#latches.clear();
    else if (offset === REGISTERS.FAULT) {
      this.#fault = 0;
      this.#faultLine.lower();
    } else if (STREAMS.includes(offset / 4)) {
      this.#tables[offset / 4] = value;
      this.#latches.delete(offset / 4);
    }
  }

  #entryFor(stream: number, iova: number): number {
    const table = this.#tables[stream] ?? 0;
    if (table === 0 || iova < FIRST_IOVA || iova > LAST_IOVA) return 0;
    const page = Math.floor((iova - FIRST_IOVA) / PAGE_BYTES);
    const latch = this.#latches.get(stream);
    if (latch?.page === page) return latch.entry;
    const entry = this.#memory.read32((table + 4 * page) as PhysAddr);
    if (entry < 0) return 0; // nothing answers at the table's address
    if ((entry & ENTRY.VALID) !== 0) this.#latches.set(stream, { page, entry });
    return entry;
  }

  #refuse({ streamId, address, isWrite }: BusAccess, why: number): AccessStatus {
    if (this.#fault !== 0) this.#fault |= FAULT.MORE;
    else {
      this.#fault = FAULT.RECORDED | (isWrite ? FAULT.WRITE : 0) | why | (streamId << 8);
      this.#faultIova = address;
      this.#faultLine.raise();
    }
    return 'faulted';
  }
}
