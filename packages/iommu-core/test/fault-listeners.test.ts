import { describe, expect, test } from '@jest/globals';
import { LabError } from '@iommu-lab/machine';
import type { Fault, FaultHandler, IommuDomain } from '../src/index.ts';
import { type Bench, bench, codeOf, device, rotator } from './fake-iommu.ts';

const DST = { context: 'rot_dst', streamId: 5 };

function start(): Bench & { readonly home: IommuDomain } {
  const made = bench();
  return { ...made, home: made.iommu.domainOf(rotator(made)) as IommuDomain };
}

const misusing = (): FaultHandler => () => {
  throw new LabError('EBUSY', 'a listener that asks for too much');
};

const broken: FaultHandler = () => {
  throw new TypeError('a listener that is wrong');
};

function failures({ events }: Bench): readonly unknown[] {
  return events.filter((e) => e.name === 'iommu:fault_listener_failed').map((e) => e.fields);
}

function only({ iommu }: Bench): Fault {
  const [fault, second] = iommu.faults;
  if (fault === undefined || second !== undefined) throw new Error('not one fault');
  return fault;
}

describe('a listener that misuses the core', () => {
  test('is reported and has given no verdict: the others are asked', () => {
    const made = start();
    const { iommu, fake } = made;
    iommu.onFault(misusing());
    iommu.onFault(() => 'hold');
    iommu.onFault(misusing());
    expect([fake.stall(iommu, DST), fake.stalled.has('rot_dst')]).toEqual(['hold', true]);
    expect(failures(made)).toMatchObject([
      { fault: 1, error: expect.stringMatching(/^EBUSY/) },
      { fault: 1 },
    ]);
    expect([iommu.respond(only(made), 'retry'), fake.stalled.size]).toEqual([true, 0]);
  });

  test('and is alone leaves the access to be terminated', () => {
    const made = start();
    made.iommu.onFault(misusing());
    expect([made.fake.stall(made.iommu, DST), failures(made).length]).toEqual(['terminate', 1]);
    expect(made.iommu.respond(only(made), 'retry')).toBe(false);
  });

  test('is the same as the handler of a domain', () => {
    const made = start();
    const { iommu, fake, home } = made;
    home.setFaultHandler(misusing());
    const heard: number[] = [];
    iommu.onFault(({ id }) => {
      heard.push(id);
      return 'hold';
    });
    expect([fake.stall(iommu, DST), heard, failures(made).length]).toEqual(['hold', [1], 1]);
  });

  test('by a call of the core that throws, in the midst of a fault', () => {
    const made = start();
    const { iommu, fake } = made;
    iommu.onFault(() => iommu.attach(iommu.blockedDomain, device('stranger')));
    expect(fake.stall(iommu, DST)).toBe('terminate');
    expect(failures(made)).toMatchObject([{ error: expect.stringMatching(/^ENODEV/) }]);
  });
});

describe('a listener that is wrong', () => {
  test.each(['before', 'after'] as const)(
    'is heard of by whoever reports the fault, and one that holds %s it has the access held',
    (when) => {
      const made = start();
      const { iommu, fake, home } = made;
      if (when === 'before') home.setFaultHandler(() => 'hold');
      iommu.onFault(broken);
      if (when === 'after') iommu.onFault(() => 'hold');
      expect(() => fake.stall(iommu, DST)).toThrow(TypeError);
      expect([iommu.faultCount, fake.stalled.has('rot_dst'), failures(made)]).toEqual([1, true, []]);
      expect([iommu.respond(only(made), 'retry'), fake.stalled.size]).toEqual([true, 0]);
    },
  );

  test('hides nobody’s misuse, and keeps no other fault from being answered', () => {
    const made = start();
    const { iommu, fake } = made;
    iommu.onFault(misusing());
    const end = iommu.onFault(broken);
    expect(() => fake.stall(iommu, DST)).toThrow(TypeError);
    expect(failures(made).length).toBe(1);
    end();
    iommu.onFault(() => 'hold');
    expect(fake.stall(iommu, DST)).toBe('hold');
    const second = iommu.faults[1];
    expect(second && iommu.respond(second, 'retry')).toBe(true);
    expect(codeOf(() => iommu.why(iommu.faults[0] as Fault))).toBeUndefined();
  });
});
