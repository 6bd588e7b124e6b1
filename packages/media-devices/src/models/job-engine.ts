/**
 * What the media devices have in common: registers, the interrupt line, and a job that runs as clock tasks.
 *
 * START latches the registers; everything after that happens in tasks, one step each. A step may have to wait for a
 * stalled access: it reports its end whenever that is, and the job stands still until then.
 */
import {
  encode,
  hex,
  type InterruptLine,
  type MmioDevice,
  type Register,
  RegisterFile,
  type Transfer,
  type World,
} from '@iommu-lab/machine';
import { BUSY, COMMAND, ENABLE, FAULT_ADDRESS, STATUS } from '../registers/common.ts';

/** Why a job ended early. `bus`: the access at `address` got an error response. */
export interface JobFailure {
  readonly cause: 'bus' | 'config' | 'overflow';
  /** As the device drove it; 0 where there is none. */
  readonly address: number;
}

/** How a step ended: the job goes on, is done, or has failed. */
export type StepOutcome = 'more' | 'done' | JobFailure;

/** One job's life. A RESET abandons it, and with it the transfer that waits for a stalled access. */
export interface JobRun {
  readonly isAbandoned: boolean;
  pending: Transfer | undefined;
}

/** One step after the other until one does not answer `more`. `ended` is called once, at once or later. */
export interface Job {
  /** Model time before each step, in nanoseconds. */
  readonly stepNs: number;
  step(ended: (outcome: StepOutcome) => void): void;
}

export interface JobEngineOptions {
  readonly name: string;
  readonly line: InterruptLine;
  /** All rows, the common ones included. */
  readonly registers: readonly Register[];
  /** Latches the registers at START. Undefined: they make no sense (ERROR and CONFIG). Accesses nothing. */
  readonly prepare: (file: RegisterFile, run: JobRun) => Job | undefined;
  /** Sets read-only registers that depend on the wiring; runs after every reset. */
  readonly onReset?: (file: RegisterFile) => void;
}

const CONFIG_FAILURE: JobFailure = { cause: 'config', address: 0 };

export class JobEngine implements MmioDevice {
  readonly name: string;
  readonly #world: World;
  readonly #options: JobEngineOptions;
  readonly #file: RegisterFile;
  #run: (JobRun & { isAbandoned: boolean; hasFault: boolean }) | undefined;

  constructor(world: World, options: JobEngineOptions) {
    this.name = options.name;
    this.#world = world;
    this.#options = options;
    this.#file = new RegisterFile(options.registers);
    this.#file.on(COMMAND, { afterWrite: (value) => this.#command(value) });
    this.#file.on(STATUS, { afterWrite: () => this.#updateLine() });
    this.#file.on(ENABLE, { afterWrite: () => this.#updateLine() });
    options.onReset?.(this.#file);
  }

  read32(offset: number): number {
    return this.#file.read(offset);
  }

  write32(offset: number, value: number): void {
    this.#file.write(offset, value);
  }

  /** Whether a job runs or waits for a stalled access. */
  get isBusy(): boolean {
    return this.#run !== undefined;
  }

  /** Stored register values by name. */
  dump(): Record<string, number> {
    return this.#file.dump();
  }

  /** Stores a read-only register: the hardware's own doing. */
  set(register: Register, value: number): void {
    this.#file.set(register, value);
  }

  /** Notes an access that failed while the job goes on. FAULT_ADDRESS keeps the job's first. */
  reportError(address: number): void {
    if (this.#run === undefined) return;
    if (!this.#run.hasFault) this.#file.set(FAULT_ADDRESS, address);
    this.#run.hasFault = true;
    this.#raise(encode(STATUS, { ERROR: 1 }));
  }

  #command(value: number): void {
    if ((value & encode(COMMAND, { RESET: 1 })) !== 0) this.#reset();
    else if ((value & encode(COMMAND, { START: 1 })) !== 0 && !this.isBusy) this.#start();
  }

  #reset(): void {
    if (this.#run !== undefined) this.#run.isAbandoned = true;
    this.#run?.pending?.abandon();
    this.#run = undefined;
    this.#file.reset();
    this.#options.onReset?.(this.#file);
    this.#updateLine();
  }

  #start(): void {
    const run = { isAbandoned: false, hasFault: false, pending: undefined };
    this.#run = run;
    this.#file.set(BUSY, 1);
    this.#file.set(FAULT_ADDRESS, 0);
    this.#world.emit('media:job_start', { device: this.name });
    const job = this.#options.prepare(this.#file, run);
    if (job === undefined) {
      this.#later(run, 0, () => this.#end(CONFIG_FAILURE));
      return;
    }
    const runStep = (): void => {
      job.step((outcome) => {
        if (outcome === 'more') this.#later(run, job.stepNs, runStep);
        else this.#end(outcome);
      });
    };
    this.#later(run, job.stepNs, runStep);
  }

  #later(run: JobRun, delayNs: number, task: () => void): void {
    this.#world.clock.schedule(delayNs, `${this.name} job`, () => {
      if (!run.isAbandoned) task();
    });
  }

  #end(outcome: 'done' | JobFailure): void {
    this.#run = undefined;
    this.#file.set(BUSY, 0);
    if (outcome === 'done') {
      this.#world.emit('media:job_done', { device: this.name });
      this.#raise(encode(STATUS, { DONE: 1 }));
      return;
    }
    const { cause, address } = outcome;
    this.#world.emit('media:job_error', { device: this.name, cause, address: hex(address) });
    this.#file.set(FAULT_ADDRESS, address);
    this.#raise(
      encode(STATUS, {
        ERROR: 1,
        CONFIG: cause === 'config' ? 1 : 0,
        OVERFLOW: cause === 'overflow' ? 1 : 0,
      }),
    );
  }

  #raise(bits: number): void {
    this.#file.set(STATUS, (this.#file.get(STATUS) | bits) >>> 0);
    this.#updateLine();
  }

  #updateLine(): void {
    this.#options.line.set((this.#file.get(STATUS) & this.#file.get(ENABLE)) !== 0);
  }
}
