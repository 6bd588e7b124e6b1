/** Register verbs: what the driver can do to the hardware, one function each. Touches no table entry. */
import { encode, extract, LabError, type MmioPort } from '@iommu-lab/machine';
import {
  CONTROL,
  FAULT_ADDRESS,
  FAULT_STATUS,
  INVALIDATE_ALL,
  INVALIDATE_PAGE,
  STREAMS,
  tableRegister,
} from './registers.ts';

/** From this many pages on, dropping everything takes fewer writes and costs the devices less than page by page. */
const INVALIDATE_ALL_FROM = 64;

/** A fault as the registers hold it. */
export interface FaultRecord {
  readonly stream: number;
  readonly iova: number;
  readonly isWrite: boolean;
  /** FAULT_STATUS.CAUSE. */
  readonly cause: number;
  readonly isMultiple: boolean;
  readonly registers: Readonly<Record<string, number>>;
}

export class FlatHw {
  readonly #mmio: MmioPort;
  readonly #base: number;

  /** @param base physical address of the register window */
  constructor(mmio: MmioPort, base: number) {
    this.#mmio = mmio;
    this.#base = base;
  }

  /** Blocks every stream, forgets what an earlier owner left, and switches on. @returns the number of streams */
  start(): number {
    const streams = this.#read(STREAMS.offset);
    if (streams === 0)
      throw new LabError('ENODEV', 'nothing that looks like a flat IOMMU', { base: this.#base });
    for (let stream = 0; stream < streams; stream++) this.block(stream);
    this.#write(INVALIDATE_ALL.offset, 1);
    this.#acknowledge();
    this.#write(CONTROL.offset, encode(CONTROL, { ENABLE: 1 }));
    return streams;
  }

  /** Switches off: every access is refused. */
  stop(): void {
    this.#write(CONTROL.offset, 0);
    this.#acknowledge();
  }

  /** Makes the table at `table` the stream's, writes noted or not: one register write, between two accesses. */
  useTable(stream: number, table: number, notesWrites: boolean): void {
    const register = tableRegister(stream);
    const BASE = table >>> register.fields.BASE.shift;
    this.#write(register.offset, encode(register, { TRANSLATE: 1, NOTE_WRITES: notesWrites ? 1 : 0, BASE }));
  }

  /** Refuses every access of the stream from now on. */
  block(stream: number): void {
    this.#write(tableRegister(stream).offset, 0);
  }

  /** Drops cached entries of `[iova, iova + sizeBytes)`, of pages of `pageBytes`. Done when it returns. */
  invalidate(iova: number, sizeBytes: number, pageBytes: number): void {
    if (sizeBytes / pageBytes >= INVALIDATE_ALL_FROM) return this.#write(INVALIDATE_ALL.offset, 1);
    for (let page = iova; page < iova + sizeBytes; page += pageBytes)
      this.#write(INVALIDATE_PAGE.offset, page);
  }

  /** Reads and acknowledges the recorded fault; undefined when there is none. */
  takeFault(): FaultRecord | undefined {
    const status = this.#read(FAULT_STATUS.offset);
    const { VALID, WRITE, CAUSE, MULTIPLE, STREAM } = FAULT_STATUS.fields;
    if (extract(status, VALID) === 0) return undefined;
    const iova = this.#read(FAULT_ADDRESS.offset);
    this.#acknowledge();
    return {
      stream: extract(status, STREAM),
      iova,
      isWrite: extract(status, WRITE) === 1,
      cause: extract(status, CAUSE),
      isMultiple: extract(status, MULTIPLE) === 1,
      registers: { FAULT_STATUS: status, FAULT_ADDRESS: iova },
    };
  }

  #acknowledge(): void {
    this.#write(FAULT_STATUS.offset, encode(FAULT_STATUS, { VALID: 1 }));
  }

  #read(offset: number): number {
    return this.#mmio.read32(this.#base + offset);
  }

  #write(offset: number, value: number): void {
    this.#mmio.write32(this.#base + offset, value);
  }
}
