import { describe, expect, test } from '@jest/globals';
import { LabError } from '@iommu-lab/machine';
import { Guest } from '../src/index.ts';
import { CopierDriver } from './copier.ts';
import { type Host, makeHost, stateOf } from './host.ts';

const GPA = 0x4000_0000;

describe('the nth failure', () => {
  /** Fails the 1st, 2nd, ... step of `operation` until it goes through; after each failure all is as before. */
  function sweep(makeReady: () => [Host, Guest], operation: (host: Host, guest: Guest) => void): number {
    let failures = 0;
    for (const where of ['host', 'guest'] as const) {
      for (let n = 1; ; n++) {
        const [host, guest] = makeReady();
        const before = stateOf(host, guest);
        const { failpoints } = where === 'host' ? host.world : guest.world;
        failpoints.failNth(n);
        let error: unknown;
        try {
          operation(host, guest);
        } catch (thrown) {
          error = thrown;
        }
        const hasFired = failpoints.hasFired;
        failpoints.reset();
        if (!hasFired) break;
        failures++;
        expect(error).toBeInstanceOf(LabError);
        expect(stateOf(host, guest)).toEqual(before);
        operation(host, guest);
      }
    }
    return failures;
  }

  const SMALL = 16 * 4096;

  function ready(withDevice: boolean): () => [Host, Guest] {
    return () => {
      const host = makeHost();
      const guest = new Guest(host, { name: 'vm1' });
      guest.addMemorySlot(GPA, SMALL);
      guest.kernel.bus.addDriver(new CopierDriver());
      if (withDevice) guest.assign(host.bus.device('b0'));
      return [host, guest];
    };
  }

  test('of assigning the first device leaves everything as it was', () => {
    const failures = sweep(ready(false), (host, guest) => void guest.assign(host.bus.device('a0')));
    expect(failures).toBeGreaterThan(20);
  });

  test('of assigning a further device, too', () => {
    expect(sweep(ready(true), (host, guest) => void guest.assign(host.bus.device('a0')))).toBeGreaterThan(6);
  });

  test('of adding memory that a device already has a view on, too', () => {
    const failures = sweep(ready(true), (_, guest) => guest.addMemorySlot(0x5000_0000, SMALL));
    expect(failures).toBeGreaterThan(30);
  });
});
