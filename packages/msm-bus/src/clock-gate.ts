/** Clocks as gates: a register block answers only while its clocks run. */
import { LabError, type World } from '@iommu-lab/machine';

/**
 * One clock of the SoC, on while somebody needs it. Enables are counted, as in the kernel's clk_enable/clk_disable
 * (drivers/clk/clk.c): the clock stops at the last disable.
 */
export class ClockGate {
  readonly name: string;
  readonly #world: World;
  #users = 0;

  constructor(world: World, name: string) {
    this.#world = world;
    this.name = name;
  }

  /** Whether the clock runs. What an `MmioWindow.isClocked` asks. */
  get isEnabled(): boolean {
    return this.#users > 0;
  }

  /** Enables not yet undone; 0 when every user has cleaned up. */
  get enableCount(): number {
    return this.#users;
  }

  /** Needs the clock. @throws LabError EIO when it does not start (failpoint `msm-bus.clock-enable`). */
  enable(): void {
    if (this.#world.fail('msm-bus.clock-enable')) {
      throw new LabError('EIO', `clock ${this.name} does not start`, { clock: this.name });
    }
    this.#users++;
    if (this.#users === 1) this.#world.emit('clk:clk_enable', { name: this.name });
  }

  /** Needs it no longer. @throws LabError EINVAL when it is disabled more often than enabled; it then stays off. */
  disable(): void {
    if (this.#users === 0) {
      throw new LabError('EINVAL', `clock ${this.name} is disabled more often than enabled`, {
        clock: this.name,
      });
    }
    this.#users--;
    if (this.#users === 0) this.#world.emit('clk:clk_disable', { name: this.name });
  }
}

/** The clocks of a SoC by name. Several devices may share one: the SMMUs share their interface clock. */
export class ClockTree {
  readonly #gates = new Map<string, ClockGate>();

  /** @param names one gate each. @throws LabError EEXIST when a name comes twice */
  constructor(world: World, names: readonly string[]) {
    for (const name of names) {
      if (this.#gates.has(name)) throw new LabError('EEXIST', `clock ${name} exists`, { clock: name });
      this.#gates.set(name, new ClockGate(world, name));
    }
  }

  /** The clock `name`. @throws LabError ENOENT when there is none (the kernel's clk_get: -ENOENT). */
  get(name: string): ClockGate {
    const gate = this.#gates.get(name);
    if (gate === undefined) throw new LabError('ENOENT', `no clock "${name}"`, { clock: name });
    return gate;
  }

  /** All clocks, in the order they were named. */
  all(): readonly ClockGate[] {
    return [...this.#gates.values()];
  }
}

/**
 * Runs `work` with the clocks on: in order before it, off in reverse after it, whatever it throws. When one does not
 * start, those before it are switched off again. This is the bracket the MSM driver puts around every register
 * access: interface clock, then core clock.
 * @throws what `enable` and `work` throw
 */
export function withClocks<T>(gates: readonly ClockGate[], work: () => T): T {
  let on = 0;
  try {
    for (const gate of gates) {
      gate.enable();
      on++;
    }
    return work();
  } finally {
    for (const gate of gates.slice(0, on).reverse()) gate.disable();
  }
}
