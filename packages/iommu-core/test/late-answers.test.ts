import { describe, expect, test } from '@jest/globals';
import type { Device } from '@iommu-lab/driver-core';
import type { Fault, IommuInstance } from '../src/index.ts';
import { type Bench, bench, codeOf, FakeIommu, faultReport, rotator } from './fake-iommu.ts';

const DST = { context: 'rot_dst', streamId: 5 };

/** A rotator whose faults are held by a listener. */
function start(): Bench & { readonly rot: Device; readonly end: () => void } {
  const made = bench();
  const rot = rotator(made);
  const end = made.iommu.onFault(() => 'hold');
  return { ...made, rot, end };
}

function last({ iommu }: Bench): Fault {
  const fault = iommu.faults.at(-1);
  if (fault === undefined) throw new Error('no fault');
  return fault;
}

function resumes({ fake }: Bench): readonly string[] {
  return fake.calls.filter((c) => c.startsWith('resume'));
}

/** Each ends the stall of `rot_dst` by other means than an answer, and leaves the device with a translation. */
const ENDS: Readonly<Record<string, (made: Bench, rot: Device) => void>> = {
  replace: ({ iommu }, rot) => iommu.replace(iommu.allocPagingDomain(rot), rot),
  'replace at the context': ({ iommu }, rot) => iommu.replace(iommu.allocPagingDomain(rot), rot, 'rot_dst'),
  attach: ({ iommu }, rot) => iommu.attach(iommu.identityDomain, rot),
  'a claim': ({ iommu }, rot) => iommu.claimOwnership(rot, 'guest'),
  'cleanup and configure': ({ iommu }, rot) => {
    iommu.cleanup(rot);
    iommu.configure(rot);
  },
};

describe('an answer to an access whose stall was ended by', () => {
  test.each(Object.keys(ENDS))('%s is for nobody: not for the one that stalls there now', (how) => {
    const made = start();
    const { iommu, fake, rot, end } = made;
    expect(fake.stall(iommu, DST)).toBe('hold');
    const first = last(made);
    ENDS[how]?.(made, rot);
    end();
    const said: boolean[] = [];
    iommu.onFault(() => {
      said.push(iommu.respond(first, 'retry'));
      return 'hold';
    });
    expect([fake.stall(iommu, DST), said, resumes(made)]).toEqual(['hold', [false], []]);
    expect([iommu.respond(first, 'terminate'), fake.stalled.has('rot_dst')]).toEqual([false, true]);
    expect(iommu.respond(last(made), 'retry')).toBe(true);
    expect(resumes(made)).toEqual(['resume rot_dst retry']);
  });

  test.each(Object.keys(ENDS))('%s is false with nothing waiting there', (how) => {
    const made = start();
    made.fake.stall(made.iommu, DST);
    ENDS[how]?.(made, made.rot);
    expect(made.iommu.respond(last(made), 'retry')).toBe(false);
    expect(resumes(made)).toEqual([]);
  });

  test('the removal of its IOMMU is false, and the hardware that has gone is not asked', () => {
    const made = start();
    made.fake.stall(made.iommu, DST);
    made.iommu.removeInstance('fake');
    made.fake.isUnreachable = true;
    expect(made.iommu.respond(last(made), 'retry')).toBe(false);
  });
});

describe('an answer', () => {
  test('that the hardware does not take leaves the access waiting: EIO, and the next one counts', () => {
    const made = start();
    const { iommu, fake } = made;
    fake.stall(iommu, DST);
    fake.isUnreachable = true;
    const fault = last(made);
    expect([codeOf(() => iommu.respond(fault, 'retry')), fake.stalled.has('rot_dst')]).toEqual(['EIO', true]);
    expect(codeOf(() => iommu.respond(fault, 'terminate'))).toBe('EIO');
    fake.isUnreachable = false;
    expect([iommu.respond(fault, 'terminate'), iommu.respond(fault, 'terminate')]).toEqual([true, false]);
    expect(resumes(made)).toEqual(['resume rot_dst terminate']);
  });

  test('to a fault of another system is false, and resumes nothing in either', () => {
    const [here, there] = [start(), start()];
    for (const made of [here, there]) made.fake.stall(made.iommu, DST);
    expect(last(there)).toEqual(last(here));
    expect(here.iommu.respond(last(there), 'retry')).toBe(false);
    expect([resumes(here), resumes(there)]).toEqual([[], []]);
    expect([here, there].map((made) => made.iommu.respond(last(made), 'retry'))).toEqual([true, true]);
  });

  test('finds nothing to end while the verdict is still being asked for', () => {
    const made = bench();
    rotator(made);
    const { iommu, fake } = made;
    const said: boolean[] = [];
    iommu.onFault((fault) => void said.push(iommu.respond(fault, 'retry')));
    expect([fake.stall(iommu, DST), said, resumes(made)]).toEqual(['terminate', [false], []]);
  });
});

describe('the verdict hold', () => {
  test('is terminate for a stalled access of no context: nobody could end its stall', () => {
    const made = start();
    const report = faultReport({ context: undefined, cause: 'configuration', isStalled: true });
    expect(made.iommu.reportFault(made.fake, report)).toBe('terminate');
    expect([made.iommu.respond(last(made), 'retry'), resumes(made)]).toEqual([false, []]);
  });

  test('is terminate on hardware that cannot resume', () => {
    const made = start();
    const deaf: IommuInstance = Object.assign(new FakeIommu(made.world, { provider: 'deaf' }), {
      resume: undefined,
    });
    made.iommu.registerInstance(deaf);
    expect(made.iommu.reportFault(deaf, faultReport({ isStalled: true }))).toBe('terminate');
    expect(made.iommu.respond(last(made), 'retry')).toBe(false);
  });

  test('at one context leaves what waits at another', () => {
    const made = start();
    const { iommu, fake } = made;
    fake.stall(iommu, DST);
    const first = last(made);
    fake.stall(iommu, { context: 'rot_src', streamId: 4 });
    expect([iommu.respond(first, 'retry'), iommu.respond(last(made), 'terminate')]).toEqual([true, true]);
    expect(resumes(made)).toEqual(['resume rot_dst retry', 'resume rot_src terminate']);
  });
});
