/**
 * What every part of one system shares: clock, randomness, events, failpoints, the interposer. It is the first
 * argument of whatever needs one of them; there are no globals.
 */
import { Clock } from './clock.ts';
import { EventLog, type EventValue } from './events.ts';
import { Failpoints } from './failpoints.ts';
import { Interposer } from './interposer.ts';
import { Random } from './random.ts';

/** What a world is made from. */
export interface WorldOptions {
  /** Seed of all randomness, a 32-bit integer; 1 unless given. */
  readonly seed?: number;
  /** Scope name of events; `host` unless given. */
  readonly name?: string;
}

/** The shared parts of one system, or of a guest in it. */
export class World {
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly events: EventLog;
  readonly failpoints: Failpoints;
  readonly interposer: Interposer;
  /** Index of the CPU that runs now; users of per-CPU state read it. */
  currentCpu = 0;

  /** @param parent see `child` */
  constructor(options: WorldOptions = {}, parent?: World) {
    this.name = options.name ?? 'host';
    this.clock = parent?.clock ?? new Clock();
    this.random = parent?.random.fork(this.name) ?? new Random(options.seed ?? 1);
    this.events = parent?.events ?? new EventLog();
    this.failpoints = new Failpoints();
    this.interposer = new Interposer();
  }

  /**
   * A world inside this one (a guest's): same clock and log, events under `NAME/name`; randomness that follows from
   * this world's seed and `name`; failpoints, interposer and current CPU of its own.
   */
  child(name: string): World {
    return new World({ name: `${this.name}/${name}` }, this);
  }

  /** Records an event. */
  emit(name: string, fields: Readonly<Record<string, EventValue>>): void {
    this.events.emit(this.clock.now, this.name, name, fields);
  }

  /** Whether the step at `site` must fail now. The caller then fails as it would for want of the real resource. */
  fail(site: string): boolean {
    return this.failpoints.shouldFail(site);
  }
}
