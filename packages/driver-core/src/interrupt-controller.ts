/**
 * Interrupt requests. A raised line only marks its interrupt pending; handlers run as clock tasks, never inside the
 * transaction or register write that moved the line. The level is looked at again after them.
 */
import { type InterruptLine, LabError, type World } from '@iommu-lab/machine';

/** Looks at its device. @returns whether the interrupt was its device's. */
export type InterruptHandler = () => boolean;

export interface RequestOptions {
  /** Whether other handlers may stand beside this one; true unless given. */
  readonly isShared?: boolean;
}

/** Rounds without anybody handling it after which an interrupt is switched off (Linux: `irq N: nobody cared`). */
const NOBODY_CARED_LIMIT = 100;

interface Handler {
  readonly name: string;
  readonly run: InterruptHandler;
  readonly isShared: boolean;
}

interface Interrupt {
  readonly lines: Set<InterruptLine>;
  readonly handlers: Set<Handler>;
  readonly endListeners: Set<() => void>;
  isQueued: boolean;
  isDisabled: boolean;
  /** Masks not yet undone. */
  maskDepth: number;
  unhandledRounds: number;
  /** Rounds of handlers so far. */
  count: number;
}

export class InterruptController {
  readonly #world: World;
  readonly #interrupts = new Map<number, Interrupt>();

  constructor(world: World) {
    this.#world = world;
  }

  /** Wires `line` to interrupt `irq`; several lines may share one. @returns takes the wire off. */
  connect(irq: number, line: InterruptLine): () => void {
    const interrupt = this.#interrupts.get(irq) ?? newInterrupt();
    this.#interrupts.set(irq, interrupt);
    interrupt.lines.add(line);
    const unsubscribe = line.subscribe(() => this.#check(irq, interrupt));
    this.#check(irq, interrupt);
    return () => {
      unsubscribe();
      interrupt.lines.delete(line);
    };
  }

  /**
   * Adds a handler. All handlers of an interrupt run, in the order they came. An interrupt that was switched off because
   * nobody cared gets another chance: the new handler may be the one that does (__setup_irq, kernel/irq/manage.c).
   * @returns frees it. @throws LabError EINVAL when no line is wired to `irq`, EBUSY when this handler or one that is
   * there will not share (the kernel's request_irq without IRQF_SHARED).
   */
  request(irq: number, name: string, handler: InterruptHandler, options: RequestOptions = {}): () => void {
    const interrupt = this.#wired(irq);
    const entry: Handler = { name, run: handler, isShared: options.isShared ?? true };
    for (const other of interrupt.handlers) {
      if (entry.isShared && other.isShared) continue;
      throw new LabError('EBUSY', `interrupt ${irq} is taken by ${other.name} and not shared`, { irq, name });
    }
    interrupt.handlers.add(entry);
    interrupt.isDisabled = false;
    interrupt.unhandledRounds = 0;
    this.#check(irq, interrupt);
    return () => {
      interrupt.handlers.delete(entry);
    };
  }

  /**
   * Holds the interrupt back: no round starts until as many `unmask` followed (the kernel's disable_irq nests too).
   * A round that runs goes on to its end. @throws LabError EINVAL when no line is wired to `irq`
   */
  mask(irq: number): void {
    this.#wired(irq).maskDepth++;
  }

  /** Undoes one `mask`; a line that is high is then delivered. @throws LabError EINVAL when it is not masked */
  unmask(irq: number): void {
    const interrupt = this.#wired(irq);
    if (interrupt.maskDepth === 0) throw new LabError('EINVAL', `interrupt ${irq} is not masked`, { irq });
    interrupt.maskDepth--;
    this.#check(irq, interrupt);
  }

  isMasked(irq: number): boolean {
    return (this.#interrupts.get(irq)?.maskDepth ?? 0) > 0;
  }

  /**
   * Calls `listener` after each round of handlers, before the level is looked at again: the end of interrupt.
   * @returns ends it. @throws LabError EINVAL when no line is wired to `irq`
   */
  onEnd(irq: number, listener: () => void): () => void {
    const { endListeners } = this.#wired(irq);
    endListeners.add(listener);
    return () => {
      endListeners.delete(listener);
    };
  }

  /** How many rounds of handlers `irq` has had. */
  count(irq: number): number {
    return this.#interrupts.get(irq)?.count ?? 0;
  }

  #wired(irq: number): Interrupt {
    const interrupt = this.#interrupts.get(irq);
    if (interrupt === undefined)
      throw new LabError('EINVAL', `no line is wired to interrupt ${irq}`, { irq });
    return interrupt;
  }

  #check(irq: number, interrupt: Interrupt): void {
    if (interrupt.isQueued || !isDeliverable(interrupt)) return;
    interrupt.isQueued = true;
    this.#world.clock.schedule(0, `irq ${irq}`, () => this.#deliver(irq, interrupt));
  }

  #deliver(irq: number, interrupt: Interrupt): void {
    interrupt.isQueued = false;
    // A pulse that ended before the CPU looked is not delivered: the lines are level-triggered.
    if (!isDeliverable(interrupt)) return;
    interrupt.count++;
    let isHandled = false;
    // One requested in this round waits for the next; one freed in this round is not called any more.
    for (const handler of Array.from(interrupt.handlers)) {
      if (interrupt.handlers.has(handler)) isHandled = handler.run() || isHandled;
    }
    interrupt.unhandledRounds = isHandled ? 0 : interrupt.unhandledRounds + 1;
    if (interrupt.unhandledRounds >= NOBODY_CARED_LIMIT) {
      interrupt.isDisabled = true;
      this.#world.emit('irq:nobody_cared', { irq, handlers: Array.from(interrupt.handlers, (h) => h.name) });
      return;
    }
    for (const listener of Array.from(interrupt.endListeners)) listener();
    this.#check(irq, interrupt);
  }
}

function newInterrupt(): Interrupt {
  return {
    lines: new Set(),
    handlers: new Set(),
    endListeners: new Set(),
    isQueued: false,
    isDisabled: false,
    maskDepth: 0,
    unhandledRounds: 0,
    count: 0,
  };
}

function isDeliverable(interrupt: Interrupt): boolean {
  if (interrupt.isDisabled || interrupt.maskDepth > 0 || interrupt.handlers.size === 0) return false;
  for (const line of interrupt.lines) if (line.isHigh) return true;
  return false;
}
