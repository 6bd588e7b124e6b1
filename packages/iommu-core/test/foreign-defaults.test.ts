import { describe, expect, test } from '@jest/globals';
import type { Device } from '@iommu-lab/driver-core';
import { type Iommu, type IommuDomain, IoAddressSpace } from '../src/index.ts';
import { type Bench, bench, codeOf, device, endpoint } from './fake-iommu.ts';
import { addIommu, ODD } from './space-fixture.ts';
import { stateOf } from './sweep.ts';

/** Devices of one kind in groups of their own, and one behind two kinds of IOMMU. */
function start() {
  const made = bench();
  const { iommu, world } = made;
  const odd = addIommu(iommu, world, 'odd', ODD);
  const [a, c] = [device('a', endpoint('c0', 0)), device('c', endpoint('c1', 1))];
  const mixed = device('mixed', endpoint('c2', 2), endpoint('c0', 0, 'odd'));
  for (const each of [a, c, mixed]) iommu.configure(each);
  return { ...made, odd, a, c, mixed };
}

type Started = ReturnType<typeof start>;

/** Every way to put `device`, which has an endpoint at c1, on a domain. */
const WAYS: Readonly<Record<string, (iommu: Iommu, domain: IommuDomain, device: Device) => void>> = {
  attach: (iommu, domain, dev) => iommu.attach(domain, dev),
  attachGroup: (iommu, domain, dev) => iommu.attachGroup(domain, dev),
  attachEndpoint: (iommu, domain, dev) => iommu.attachEndpoint(domain, dev, 'c1'),
  replace: (iommu, domain, dev) => iommu.replace(domain, dev),
  'replace at a context': (iommu, domain, dev) => iommu.replace(domain, dev, 'c1'),
};

/** Every domain that is not c's to use, by whose it is. */
const KEPT: Readonly<Record<string, (made: Started) => IommuDomain | undefined>> = {
  'another group’s default domain': ({ iommu, a }) => iommu.defaultDomainOf(a),
  'a domain of another group’s default space': ({ iommu, mixed }) => iommu.defaultDomainOf(mixed),
  'a domain of an address space': ({ iommu, a }) => {
    iommu.createAddressSpace('guest').attach(a);
    return iommu.domainOf(a);
  },
};

/** All devices leave: that never fails, and nothing is left. */
function end({ iommu, fake, odd, a, c, mixed }: Started): void {
  for (const each of [a, c, mixed]) iommu.cleanup(each);
  expect(
    [iommu.groups, iommu.domains, fake, odd].map((x) => ('tables' in x ? x.tables.size : x.length)),
  ).toEqual([0, 0, 0, 0]);
}

describe('a domain that somebody keeps for a purpose of his own', () => {
  const cases = Object.keys(KEPT).flatMap((kept) => Object.keys(WAYS).map((way) => [kept, way] as const));

  test.each(cases)('%s is refused by %s: EINVAL', (kept, way) => {
    const made = start();
    const domain = KEPT[kept]?.(made);
    if (domain === undefined) throw new Error('no domain');
    const before = stateOf(made, made.odd);
    expect(codeOf(() => WAYS[way]?.(made.iommu, domain, made.c))).toBe('EINVAL');
    expect(stateOf(made, made.odd)).toEqual(before);
    end(made);
  });

  test('is its own group’s: back home by attach and replace', () => {
    const made = start();
    const { iommu, c } = made;
    const home = iommu.defaultDomainOf(c) as IommuDomain;
    iommu.attach(iommu.blockedDomain, c);
    iommu.attach(home, c);
    expect(iommu.domainOf(c)).toBe(home);
    iommu.replace(iommu.identityDomain, c);
    iommu.replace(home, c);
    expect(iommu.domainOf(c, 'c1')).toBe(home);
    end(made);
  });

  test('is everybody’s when it was made for a device: the device may leave and the domain stays', () => {
    const made = start();
    const { iommu, a, c } = made;
    const mine = iommu.allocPagingDomain(a, 'mine');
    iommu.attach(mine, c);
    iommu.cleanup(a);
    expect(iommu.domainOf(c)).toBe(mine);
    iommu.detach(mine, c);
    mine.free();
    end(made);
  });
});

describe('another group’s default address space', () => {
  function spaceOf({ iommu }: Bench, dev: Device): IoAddressSpace {
    const space = iommu.dmaMappingsOf(dev);
    if (!(space instanceof IoAddressSpace)) throw new Error('no address space');
    return space;
  }

  test('takes no members: EINVAL, and its group leaves as it came', () => {
    const made = start();
    const { iommu, c, mixed } = made;
    const space = spaceOf(made, mixed);
    const before = stateOf(made, made.odd);
    expect(codeOf(() => space.attach(c))).toBe('EINVAL');
    expect([stateOf(made, made.odd), space.members]).toEqual([before, [mixed]]);
    iommu.cleanup(mixed);
    expect(iommu.domainOf(c)).toBe(iommu.defaultDomainOf(c));
    end(made);
  });

  test('is its own group’s: back home by attach', () => {
    const made = start();
    const { iommu, mixed } = made;
    const [space, other] = [spaceOf(made, mixed), iommu.createAddressSpace('guest')];
    other.attach(mixed);
    other.detach(mixed);
    iommu.attach(iommu.blockedDomain, mixed);
    space.attach(mixed);
    expect([space.members, iommu.domainOf(mixed)]).toEqual([[mixed], iommu.defaultDomainOf(mixed)]);
    end(made);
  });
});
