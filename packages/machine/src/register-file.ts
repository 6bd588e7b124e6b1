/** Storage for a block of registers, with access kinds, effect hooks, reset and dump. */
import { LabError } from './errors.ts';
import type { Register } from './register.ts';

/** What happens at a register besides storing. */
export interface RegisterHooks {
  /** May change the value about to be stored (`rw`), or the bits about to be cleared (`w1c`). */
  readonly beforeWrite?: (value: number) => number;
  /** Runs after a write, with the value that was written (for a trigger: the data). */
  readonly afterWrite?: (value: number) => void;
  /** Computes what a read returns, in place of what is stored. */
  readonly onRead?: (stored: number) => number;
}

/** The registers of one block. A bus access to it never throws. */
export class RegisterFile {
  readonly registers: readonly Register[];
  readonly #byOffset = new Map<number, number>();
  readonly #values: Uint32Array;
  readonly #hooks: (RegisterHooks | undefined)[];

  /** @throws LabError EINVAL when two rows share an offset or one is not 4-byte aligned. */
  constructor(registers: readonly Register[]) {
    this.registers = registers;
    this.#values = new Uint32Array(registers.length);
    this.#hooks = registers.map(() => undefined);
    registers.forEach((register, index) => {
      if (register.offset % 4 !== 0 || this.#byOffset.has(register.offset)) {
        throw new LabError('EINVAL', `register ${register.name}: offset unaligned or taken`, {
          offset: register.offset,
        });
      }
      this.#byOffset.set(register.offset, index);
    });
    this.reset();
  }

  /** Hangs effects on a register. @throws LabError ENOENT for a row that is not in this file. */
  on(register: Register, hooks: RegisterHooks): void {
    this.#hooks[this.#indexOf(register)] = hooks;
  }

  /** A bus read. An offset without register reads 0. */
  read(offset: number): number {
    const index = this.#byOffset.get(offset);
    if (index === undefined) return 0;
    if ((this.registers[index] as Register).access === 'wo') return 0;
    const stored = this.#values[index] as number;
    const onRead = this.#hooks[index]?.onRead;
    return onRead === undefined ? stored : onRead(stored) >>> 0;
  }

  /** A bus write. An offset without register ignores it. */
  write(offset: number, value: number): void {
    const index = this.#byOffset.get(offset);
    if (index === undefined) return;
    const hooks = this.#hooks[index];
    const accepted = (hooks?.beforeWrite?.(value) ?? value) >>> 0;
    const { access } = this.registers[index] as Register;
    if (access === 'rw') this.#values[index] = accepted;
    else if (access === 'w1c') this.#values[index] = (this.#values[index] as number) & ~accepted;
    else if (access === 'ro') return;
    hooks?.afterWrite?.(accepted);
  }

  /** The stored value, past hooks and access kind: the hardware's own look at it. */
  get(register: Register): number {
    return this.#values[this.#indexOf(register)] as number;
  }

  /** Stores a value past hooks and access kind: the hardware's own doing. */
  set(register: Register, value: number): void {
    this.#values[this.#indexOf(register)] = value;
  }

  /** Every register back to its reset value; no hook runs. */
  reset(): void {
    this.registers.forEach((register, index) => {
      this.#values[index] = register.reset;
    });
  }

  /** Stored values by name, in the rows' order. */
  dump(): Record<string, number> {
    return Object.fromEntries(this.registers.map((r, i) => [r.name, this.#values[i] as number]));
  }

  /** Stores what `dump` gave; registers it does not name keep their value. No hook runs. */
  restore(values: Readonly<Record<string, number>>): void {
    this.registers.forEach((register, index) => {
      this.#values[index] = values[register.name] ?? (this.#values[index] as number);
    });
  }

  #indexOf(register: Register): number {
    const index = this.#byOffset.get(register.offset);
    if (index === undefined || this.registers[index] !== register) {
      throw new LabError('ENOENT', `register ${register.name} is not part of this file`);
    }
    return index;
  }
}
