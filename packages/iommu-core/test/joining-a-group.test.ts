import { describe, expect, test } from '@jest/globals';
import type { Device } from '@iommu-lab/driver-core';
import { READ_WRITE } from '../src/index.ts';
import { type Bench, bench, codeOf, device, endpoint, K, M } from './fake-iommu.ts';
import { FakeProcess, FORMAT } from './fake-process.ts';
import { addIommu, ODD } from './space-fixture.ts';
import { stateOf } from './sweep.ts';

interface Start extends Bench {
  /** In the group: c0, which the joiner shares, and c1, which is its own. */
  readonly a: Device;
  /** Not configured: c9, which the hardware cannot tell from c0. */
  readonly joiner: Device;
}

function start(): Start {
  const made = bench({
    isolate: ({ context }) => (context === 'c0' || context === 'c9' ? 'shared' : context),
    capabilities: { processFormats: [FORMAT] },
  });
  const [a, joiner] = [
    device('a', endpoint('c0', 0), endpoint('c1', 1)),
    device('joiner', endpoint('c9', 9)),
  ];
  made.iommu.configure(a);
  return { ...made, a, joiner };
}

/** `configure` throws `code`, and nothing has changed. */
function expectRefused(made: Start, code: string): void {
  const { iommu, joiner } = made;
  const before = stateOf(made);
  expect(codeOf(() => iommu.configure(joiner))).toBe(code);
  expect(stateOf(made)).toEqual(before);
  expect(iommu.groupOf(joiner)).toBeUndefined();
}

/** Ways in which part of a group, or all of it, is elsewhere; each returns the way back. */
const ELSEWHERE: Readonly<Record<string, (made: Start) => () => void>> = {
  'attached at a context': ({ iommu, a }) => {
    const mine = iommu.allocPagingDomain(a, 'mine');
    iommu.attachEndpoint(mine, a, 'c1');
    return () => iommu.detach(mine, a, 'c1');
  },
  'replaced at a context': ({ iommu, a }) => {
    iommu.replace(iommu.identityDomain, a, 'c1');
    return () => iommu.detach(iommu.identityDomain, a, 'c1');
  },
  'replaced at the shared context': ({ iommu, a }) => {
    const mine = iommu.allocPagingDomain(a, 'mine');
    iommu.replace(mine, a, 'c0');
    return () => iommu.detach(mine, a, 'c0');
  },
  'bound to a process at a context': ({ iommu, a }) => {
    const bond = iommu.bindProcess(a, new FakeProcess('app'), 'c1');
    return () => bond.unbind();
  },
  'bound to a process': ({ iommu, a }) => {
    const bond = iommu.bindProcess(a, new FakeProcess('app'));
    return () => bond.unbind();
  },
  attached: ({ iommu, a }) => {
    const mine = iommu.allocPagingDomain(a, 'mine');
    iommu.attach(mine, a);
    return () => iommu.detach(mine, a);
  },
  'in an address space': ({ iommu, a }) => {
    const space = iommu.createAddressSpace('guest');
    space.attach(a);
    return () => space.detach(a);
  },
};

describe('a device that is new to a group', () => {
  test.each(Object.keys(ELSEWHERE))('is refused while a member is %s: EBUSY', (how) => {
    const made = start();
    const back = ELSEWHERE[how]?.(made);
    expectRefused(made, 'EBUSY');
    back?.();
    made.iommu.configure(made.joiner);
    expect(made.iommu.domainOf(made.joiner)).toBe(made.iommu.defaultDomainOf(made.a));
  });

  test.each(Object.keys(ELSEWHERE))('is refused while an owner has a member %s: EBUSY', (how) => {
    const made = start();
    made.iommu.claimOwnership(made.a, 'guest');
    const back = ELSEWHERE[how]?.(made);
    expectRefused(made, 'EBUSY');
    back?.();
    made.iommu.configure(made.joiner);
    expect(made.iommu.domainOf(made.joiner)).toBe(made.iommu.blockedDomain);
  });

  test('lands on blocked in a group that is owned, and goes home with it', () => {
    const { iommu, fake, a, joiner } = start();
    iommu.claimOwnership(a, 'guest');
    fake.calls.length = 0;
    iommu.configure(joiner);
    expect(fake.calls).toEqual(['attach c9 blocked']);
    expect(iommu.domainOf(joiner, 'c9')).toBe(iommu.blockedDomain);
    iommu.releaseOwnership(a, 'guest');
    expect(iommu.domainOf(joiner, 'c9')).toBe(iommu.defaultDomainOf(a));
  });

  test('lands there with all its endpoints, one of a key of its own among them', () => {
    const { iommu, a, joiner } = start();
    joiner.endpoints = [endpoint('own', 8), endpoint('c9', 9)];
    iommu.claimOwnership(a, 'guest');
    iommu.configure(joiner);
    expect(['own', 'c9'].map((c) => iommu.domainOf(joiner, c))).toEqual([
      iommu.blockedDomain,
      iommu.blockedDomain,
    ]);
  });

  test.each(['all of it', 'the shared context alone'])(
    'lands on blocked beside one that was put there: %s',
    (what) => {
      const { iommu, a, joiner } = start();
      iommu.cleanup(a);
      a.endpoints = [endpoint('c1', 1), endpoint('c0', 0)];
      iommu.configure(a);
      iommu.replace(iommu.blockedDomain, a, what === 'all of it' ? undefined : 'c0');
      iommu.configure(joiner);
      expect(iommu.domainOf(joiner, 'c9')).toBe(iommu.blockedDomain);
    },
  );

  test('comes in while the hardware has quarantined a member', () => {
    const { iommu, fake, a, joiner } = start();
    const mine = iommu.allocPagingDomain(a, 'mine');
    iommu.attach(mine, a);
    fake.broken.add('c1');
    iommu.detach(mine, a);
    expect(iommu.domainOf(a, 'c1')).toBeUndefined();
    iommu.configure(joiner);
    expect(iommu.domainOf(joiner)).toBe(iommu.defaultDomainOf(a));
  });
});

describe('direct regions of a device that is new to a group', () => {
  function reserving(made: Start, iova: number, sizeBytes: number): void {
    made.joiner.reservedRegions = [{ kind: 'direct', iova, sizeBytes, name: 'splash' }];
  }

  test.each([
    ['all of it', M, 8 * K],
    ['its end', M - 4 * K, 8 * K],
    ['its beginning', M + 4 * K, 64 * K],
  ] as const)('are refused where %s is mapped to something else: EADDRINUSE', (_, iova, sizeBytes) => {
    const made = start();
    const home = made.iommu.defaultDomainOf(made.a);
    home?.map(M, 0x4000_0000, 8 * K, READ_WRITE, 'a: buffer');
    reserving(made, iova, sizeBytes);
    expectRefused(made, 'EADDRINUSE');
    home?.unmap(M, 8 * K);
    made.iommu.configure(made.joiner);
    expect(home?.iovaToPhys(iova)).toBe(iova);
  });

  test('beside what is mapped are mapped', () => {
    const made = start();
    const home = made.iommu.defaultDomainOf(made.a);
    home?.map(M, 0x4000_0000, 8 * K, READ_WRITE, 'a: buffer');
    reserving(made, M + 8 * K, 4 * K);
    made.iommu.configure(made.joiner);
    expect([home?.iovaToPhys(M), home?.iovaToPhys(M + 8 * K)]).toEqual([0x4000_0000, M + 8 * K]);
  });

  test('are unmapped again when it cannot be attached, before the default domain of a new group goes', () => {
    const { iommu, fake } = bench();
    const display = device('display', endpoint('c0', 0));
    display.reservedRegions = [{ kind: 'direct', iova: M, sizeBytes: 8 * K, name: 'splash' }];
    fake.broken.add('c0');
    expect(codeOf(() => iommu.configure(display))).toBe('EIO');
    expect(fake.calls).toContain('unmap 0x00100000 4096x2');
    expect([fake.tables.size, iommu.domains, iommu.groups]).toEqual([0, [], []]);
  });
});

describe('a joiner behind a kind of IOMMU that the default domains do not cover', () => {
  test('is refused: EINVAL, and nothing has changed', () => {
    const made = start();
    const odd = addIommu(made.iommu, made.world, 'odd', ODD);
    made.joiner.endpoints = [endpoint('c9', 9), endpoint('c0', 0, 'odd')];
    expectRefused(made, 'EINVAL');
    expect([odd.targets.size, odd.tables.size]).toEqual([0, 0]);
    made.iommu.cleanup(made.a);
    made.iommu.configure(made.joiner);
    made.iommu.configure(made.a);
    expect(made.iommu.groupOf(made.a)?.devices).toEqual([made.joiner, made.a]);
    expect(made.iommu.domainOf(made.a, 'c0')).toBe(made.iommu.domainOf(made.joiner, 'c9'));
  });

  test('with a smaller window than the default domain promises, too', () => {
    const made = start();
    addIommu(made.iommu, made.world, 'small', { capabilities: { aperture: { start: 0, last: M - 1 } } });
    made.joiner.endpoints = [endpoint('c9', 9), endpoint('c0', 0, 'small')];
    expectRefused(made, 'EINVAL');
  });
});
