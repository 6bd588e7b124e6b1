/** The two interrupt lines: levels that follow from the status registers (R48, R49). */
import type { ContextBank } from './context-bank.ts';
import type { GlobalPage } from './global-page.ts';
import type { Readings } from './readings.ts';
import { ESR, FSR } from './regs/index.ts';

/** An input of whatever takes interrupts. It is told the level whenever that may have changed, the same one too. */
export interface InterruptInput {
  set(isHigh: boolean): void;
}

/** The lines of one instance. */
export class FaultLines {
  readonly #secure: InterruptInput;
  readonly #nonSecure: InterruptInput;
  readonly #banks: readonly ContextBank[];
  readonly #global: GlobalPage;
  readonly #readings: Readings;

  constructor(
    lines: {
      readonly secureLine: InterruptInput;
      readonly nonSecureLine: InterruptInput;
    },
    banks: readonly ContextBank[],
    global: GlobalPage,
    readings: Readings,
  ) {
    this.#secure = lines.secureLine;
    this.#nonSecure = lines.nonSecureLine;
    this.#banks = banks;
    this.#global = global;
    this.#readings = readings;
  }

  /** A line is high while some bank routed to it has CFEIE and a status that is not 0. */
  drive(): void {
    const hasError = this.#global.registers.get(ESR) !== 0;
    let secure = hasError && this.#readings.globalErrorLine === 'secure';
    let nonSecure = hasError && this.#readings.globalErrorLine === 'non-secure';
    for (const bank of this.#banks) {
      if (!bank.interruptEnabled || bank.registers.get(FSR) === 0) continue;
      if (bank.interruptIndex === 0) secure = true;
      else if (bank.interruptIndex === 1 || this.#readings.interruptIndexBeyond === 'non-secure') {
        nonSecure = true;
      }
    }
    this.#secure.set(secure);
    this.#nonSecure.set(nonSecure);
  }
}
