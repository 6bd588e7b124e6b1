/** The global page: routing and bank attributes by index, and the registers there is one of. */
import { RegisterFile, encode, extract, type Field, type Register } from '@iommu-lab/machine';
import { toTlbtr0 } from './attributes.ts';
import type { ResolvedConfig } from './config.ts';
import type { ContextBank } from './context-bank.ts';
import { implementedBits, onWrite } from './implemented.ts';
import {
  CBACR,
  CR,
  GLOBAL_REGISTERS,
  IDR,
  M2VCBR,
  REV,
  TLBRSW,
  TLBTR0,
  TLBTR1,
  TLBTR2,
  WINDOW_BYTES,
} from './regs/index.ts';
import type { StreamMap } from './stream-map.ts';
import type { Tlb } from './tlb.ts';

/** What the global page holds. */
export interface GlobalPageSnapshot {
  readonly registers: Readonly<Record<string, number>>;
  /** M2VCBR words by machine id, CBACR words by bank. */
  readonly streams: readonly number[];
  readonly bankAttributes: readonly number[];
  /** What TLBRSW was written last. */
  readonly selected: number;
}

/** The global page of one instance. */
export class GlobalPage {
  readonly registers: RegisterFile;
  /** Called after a bank's attributes changed. */
  onRouting: () => void = () => {};
  readonly #config: ResolvedConfig;
  readonly #streams: StreamMap;
  readonly #banks: readonly ContextBank[];
  readonly #tlb: Tlb;
  readonly #bankAttributes: Uint32Array;
  #selected = 0;

  constructor(config: ResolvedConfig, streams: StreamMap, banks: readonly ContextBank[], tlb: Tlb) {
    this.#config = config;
    this.#streams = streams;
    this.#banks = banks;
    this.#tlb = tlb;
    this.#bankAttributes = new Uint32Array(banks.length);
    this.registers = new RegisterFile(GLOBAL_REGISTERS);
    for (const register of GLOBAL_REGISTERS) {
      if (register.access === 'rw') onWrite(this.registers, register);
    }
    this.on(TLBRSW, (value) => {
      this.#selected = value;
      this.#showSelected();
    });
    if (config.readings.selectedEntry === 'live') {
      for (const register of [TLBTR0, TLBTR1, TLBTR2]) {
        this.registers.on(register, {
          onRead: () => {
            this.#showSelected();
            return this.registers.get(register);
          },
        });
      }
    }
    this.#identify();
  }

  /** Hangs an effect on one of the registers. */
  on(register: Register, afterWrite: (value: number) => void): void {
    onWrite(this.registers, register, afterWrite);
  }

  /** Whether a one-bit field of CR is 1. */
  isSet(field: Field): boolean {
    return extract(this.registers.get(CR), field) === 1;
  }

  /** CR.CLIENTPD: every access bypasses. */
  get isClientPortOff(): boolean {
    return this.#config.readings.clientPortDisable === 'bypass' && this.isSet(CR.fields.CLIENTPD);
  }

  /** CR.STALLD: no fault stalls. */
  get isStallOff(): boolean {
    return this.#config.readings.stallDisable === 'terminates' && this.isSet(CR.fields.STALLD);
  }

  /** An offset inside the window; 0 where nothing is, as for banks that do not exist (R1). */
  read(offset: number): number {
    const mid = indexIn(offset, M2VCBR.offset, this.#streams.streams.length);
    if (mid !== undefined) return this.#streams.word(mid);
    const bank = indexIn(offset, CBACR.offset, this.#banks.length);
    if (bank !== undefined) return this.#bankAttributes[bank] as number;
    return this.registers.read(offset);
  }

  write(offset: number, value: number): void {
    const mid = indexIn(offset, M2VCBR.offset, this.#streams.streams.length);
    if (mid !== undefined) {
      this.#streams.set(mid, value);
      return;
    }
    const bank = indexIn(offset, CBACR.offset, this.#banks.length);
    if (bank !== undefined) {
      this.#setBankAttributes(bank, value & implementedBits(CBACR));
      this.onRouting();
    } else if (offset < WINDOW_BYTES) this.registers.write(offset, value);
  }

  /** Every word of the page, as plain data. */
  snapshot(): GlobalPageSnapshot {
    return {
      registers: this.registers.dump(),
      streams: this.#streams.snapshot(),
      bankAttributes: [...this.#bankAttributes],
      selected: this.#selected,
    };
  }

  restore(snapshot: GlobalPageSnapshot): void {
    this.registers.restore(snapshot.registers);
    snapshot.streams.forEach((word, mid) => this.#streams.set(mid, word));
    snapshot.bankAttributes.forEach((word, bank) => this.#setBankAttributes(bank, word));
    this.#selected = snapshot.selected;
  }

  reset(): void {
    this.registers.reset();
    this.#selected = 0;
    this.#streams.reset();
    for (let bank = 0; bank < this.#banks.length; bank++) this.#setBankAttributes(bank, 0);
    this.#identify();
  }

  #setBankAttributes(index: number, word: number): void {
    const bank = this.#banks[index] as ContextBank;
    this.#bankAttributes[index] = word;
    bank.vmid = extract(word, CBACR.fields.CBVMID);
    bank.interruptIndex = extract(word, CBACR.fields.IRPTNDX);
  }

  #identify(): void {
    this.registers.set(REV, this.#config.revision & implementedBits(REV));
    this.registers.set(
      IDR,
      encode(IDR, {
        NM2VCBMT: Math.min(this.#config.streams, 0x1ff),
        HTW: 1,
        TLBSIZE: Math.floor(Math.log2(this.#config.tlbEntries)),
        NCB: this.#config.contextBanks - 1,
        NIRPT: 2,
      }),
    );
  }

  /** Puts the selected entry, as it is now, into TLBTR0 to TLBTR2 (R59); the block fetch buffer shows nothing. */
  #showSelected(): void {
    const index = extract(this.#selected, TLBRSW.fields.INDEX);
    const isTlb = extract(this.#selected, TLBRSW.fields.TLBBFBS) === 0;
    const tlb = this.#tlb;
    const isShown = isTlb && index < tlb.entries && tlb.isValid(index);
    this.registers.set(TLBTR0, isShown ? toTlbtr0(tlb.attributes(index)) : 0);
    this.registers.set(TLBTR1, isShown ? tlbtr1(tlb, index) : 0);
    this.registers.set(TLBTR2, isShown ? tlbtr2(tlb, index) : 0);
  }
}

function tlbtr1(tlb: Tlb, index: number): number {
  return encode(TLBTR1, { VMID: tlb.vmid(index), PA: extract(tlb.leaf(index).low, TLBTR1.fields.PA) });
}

function tlbtr2(tlb: Tlb, index: number): number {
  return encode(TLBTR2, {
    ASID: tlb.asid(index),
    V: 1,
    NV: tlb.isGlobal(index) ? 1 : 0,
    VA: extract(tlb.page(index), TLBTR2.fields.VA),
  });
}

/** Index of the word at `offset` in an array of `count` words at `start`. */
function indexIn(offset: number, start: number, count: number): number | undefined {
  const index = (offset - start) / 4;
  return index >= 0 && index < count && Number.isInteger(index) ? index : undefined;
}
