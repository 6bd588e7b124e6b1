import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { LabError } from '@iommu-lab/machine';
import { Device } from '../src/index.ts';
import { makeRig, names, recordingDriver } from './harness.ts';

function defer(reason: string): never {
  throw new LabError('EPROBE_DEFER', reason);
}

describe('deferred probing', () => {
  test('a device that waits is tried again after the next bind, as a clock task', () => {
    const rig = makeRig();
    let isReady = false;
    const needy = recordingDriver(rig, 'needy', {
      probe: () => (isReady ? undefined : defer('no supplier')),
    });
    const supplier = recordingDriver(rig, 'supplier', {
      probe: () => {
        isReady = true;
      },
    });
    rig.bus.addDriver(needy);
    rig.bus.addDriver(supplier);
    rig.bus.addDevice(new Device('n', { compatible: 'needy' }));
    expect(rig.bus.deferred().map((d) => [d.device.name, d.reason])).toEqual([
      ['n', 'EPROBE_DEFER: no supplier'],
    ]);
    rig.world.clock.run();
    expect(rig.calls).toEqual(['needy probe n']);

    rig.bus.addDevice(new Device('s', { compatible: 'supplier' }));
    expect(rig.bus.device('n').driver).toBeUndefined();
    rig.world.clock.run();
    expect(rig.bus.device('n').driver?.name).toBe('needy');
    expect(rig.bus.deferred()).toEqual([]);
    expect(rig.calls).toEqual(['needy probe n', 'supplier probe s', 'needy probe n']);
  });

  test('what comes without a bind ends the wait when the bus is told, also while the deferral is being recorded', () => {
    const rig = makeRig();
    let isReady = false;
    const needy = recordingDriver(rig, 'needy', {
      probe: () => (isReady ? undefined : defer('no supplier')),
    });
    const hasty = recordingDriver(rig, 'hasty', {
      probe: () => {
        if (isReady) return;
        isReady = true;
        rig.bus.retryDeferred();
        defer('it has just come');
      },
    });
    rig.bus.addDriver(needy);
    rig.bus.addDriver(hasty);
    rig.bus.addDevice(new Device('n', { compatible: 'needy' }));
    rig.world.clock.run();
    expect(rig.calls).toEqual(['needy probe n']);
    rig.bus.addDevice(new Device('h', { compatible: 'hasty' }));
    rig.world.clock.run();
    expect(['n', 'h'].map((name) => rig.bus.device(name).driver?.name)).toEqual(['needy', 'hasty']);
    expect(rig.bus.deferred()).toEqual([]);
  });

  test('a bind that happens while the deferral is being recorded is not lost', () => {
    const rig = makeRig();
    let isReady = false;
    rig.bus.addDriver(
      recordingDriver(rig, 'supplier', {
        probe: () => {
          isReady = true;
        },
      }),
    );
    rig.bus.addDriver(
      recordingDriver(rig, 'needy', {
        probe: () => {
          if (isReady) return;
          // It looked before its supplier came; the supplier binds before the bus hears of the deferral.
          rig.bus.addDevice(new Device('s', { compatible: 'supplier' }));
          defer('looked too early');
        },
      }),
    );
    rig.bus.addDevice(new Device('n', { compatible: 'needy' }));
    rig.world.clock.run();
    expect(rig.bus.device('n').driver?.name).toBe('needy');
  });

  test('two binds in a row cause one further try, not two', () => {
    const rig = makeRig();
    rig.bus.addDriver(recordingDriver(rig, 'needy', { probe: () => defer('never') }));
    rig.bus.addDriver(recordingDriver(rig, 'x'));
    rig.bus.addDevice(new Device('n', { compatible: 'needy' }));
    rig.bus.addDevice(new Device('a', { compatible: 'x' }));
    rig.bus.addDevice(new Device('b', { compatible: 'x' }));
    rig.world.clock.run();
    expect(rig.calls.filter((call) => call === 'needy probe n')).toHaveLength(2);
    expect(rig.bus.deferred()).toHaveLength(1);
  });

  test('a try that fails for good takes the device off the list', () => {
    const rig = makeRig();
    let tries = 0;
    const probe = (): never => {
      tries++;
      if (tries === 1) defer('once');
      throw new LabError('EIO', 'broken');
    };
    rig.bus.addDriver(recordingDriver(rig, 'needy', { probe }));
    rig.bus.addDriver(recordingDriver(rig, 'x'));
    rig.bus.addDevice(new Device('n', { compatible: 'needy' }));
    for (const name of ['a', 'b', 'c']) {
      rig.bus.addDevice(new Device(name, { compatible: 'x' }));
      rig.world.clock.run();
    }
    expect(tries).toBe(2);
    expect(rig.bus.deferred()).toEqual([]);
    expect(names(rig.events)).toContain('bus:probe_failed');
  });

  test('a device that another driver takes does not wait any longer', () => {
    const rig = makeRig();
    rig.bus.addDriver(recordingDriver(rig, 'x', { name: 'picky', probe: () => defer('not yet') }));
    rig.bus.addDriver(recordingDriver(rig, 'x', { name: 'plain' }));
    rig.bus.addDevice(new Device('a', { compatible: 'x' }));
    rig.world.clock.run();
    expect(rig.bus.device('a').driver?.name).toBe('plain');
    expect(rig.bus.deferred()).toEqual([]);
    expect(rig.calls).toEqual(['picky probe a', 'plain probe a']);
  });

  test('property: whatever the order of devices, all whose suppliers can be there end bound, and no others', () => {
    fc.assert(
      fc.property(
        // Device i needs each j < i for which bit j of needs[i] is set; missing ones never come.
        fc.array(fc.nat(0xff), { minLength: 1, maxLength: 8 }),
        fc.array(fc.nat(7), { maxLength: 3 }),
        fc.nat(),
        (needs, missing, seed) => {
          const rig = makeRig();
          const count = needs.length;
          const needed = needs.map((mask, i) => [...Array(i).keys()].filter((j) => ((mask >> j) & 1) === 1));
          const isBound = (j: number): boolean =>
            rig.bus.devices.some((d) => d.name === `d${j}` && d.driver !== undefined);
          rig.bus.addDriver({
            name: 'any',
            matches: () => true,
            probe: (device) => {
              const own = needed[Number(device.name.slice(1))] ?? [];
              if (!own.every(isBound)) defer('supplier missing');
            },
          });
          const present = [...Array(count).keys()].filter((i) => !missing.includes(i));
          present.sort((a, b) => ((a * 31 + seed) % 17) - ((b * 31 + seed) % 17) || a - b);
          for (const i of present) rig.bus.addDevice(new Device(`d${i}`));
          rig.world.clock.run();

          const reachable = new Set<number>();
          for (let i = 0; i < count; i++) {
            if (!missing.includes(i) && needed[i]?.every((j) => reachable.has(j))) reachable.add(i);
          }
          expect(new Set(present.filter(isBound))).toEqual(reachable);
          expect(rig.bus.deferred()).toHaveLength(present.length - reachable.size);
        },
      ),
      { numRuns: 200 },
    );
  });
});
