/** Runs tests of rules under every reading of what the sources leave open. */
import { describe } from '@jest/globals';
import { OPEN_POINTS, resolveReadings, type ReadingName, type Readings } from '../../src/readings.ts';
import type { MsmSmmuConfig } from '../../src/index.ts';
import { Rig } from './rig.ts';

/** Makes a rig whose instance reads the open points as the suite at hand does. */
export type MakeRig = (config?: Partial<Omit<MsmSmmuConfig, 'readings'>>) => Rig;

/**
 * Declares `suite` once with the defaults and once for each other value of each open point. A test whose outcome
 * depends on a point looks at `readings` and expects what that value says.
 */
export function underEveryReading(suite: (make: MakeRig, readings: Readings) => void): void {
  describe('with the defaults', () => {
    suite((config) => new Rig(config), resolveReadings());
  });
  for (const name of Object.keys(OPEN_POINTS) as ReadingName[]) {
    for (const value of OPEN_POINTS[name].values.slice(1)) {
      const chosen = { [name]: value };
      describe(`with ${name}: ${value}`, () => {
        suite((config) => new Rig({ ...config, readings: chosen }), resolveReadings(chosen));
      });
    }
  }
}
