import { describe, expect, test } from '@jest/globals';
import type { ReservedRegion } from '@iommu-lab/driver-core';
import { IoAddressSpace } from '../src/index.ts';
import { bench, codeOf, device, endpoint, FakeIommu, faultReport, M, rotator } from './fake-iommu.ts';
import { FakeProcess, FORMAT } from './fake-process.ts';
import { kindsOf } from './process-fixture.ts';
import { addIommu, ODD } from './space-fixture.ts';

describe('a device one of whose IOMMUs has gone', () => {
  /** Behind two kinds of IOMMU. */
  function mixedBench() {
    const made = bench();
    const odd = addIommu(made.iommu, made.world, 'odd', ODD);
    const mixed = device('mixed', endpoint('c0', 0), endpoint('c0', 0, 'odd'));
    made.iommu.configure(mixed);
    return { ...made, odd, mixed };
  }

  test.each(['fake', 'odd'] as const)('is on what translates the other: %s gone', (gone) => {
    const { iommu, mixed } = mixedBench();
    const stays = gone === 'fake' ? 'odd:c0' : 'fake:c0';
    const domain = iommu.domainOf(mixed, stays);
    iommu.removeInstance(gone);
    expect(domain).toBeDefined();
    expect([iommu.domainOf(mixed), iommu.groupOf(mixed)?.domain, iommu.domainOf(mixed, stays)]).toEqual([
      domain,
      domain,
      domain,
    ]);
    expect([iommu.defaultDomainOf(mixed), iommu.domainOf(mixed, `${gone}:c0`)]).toEqual([domain, undefined]);
  });

  test('is so wherever it was attached', () => {
    const { iommu, mixed } = mixedBench();
    const space = iommu.createAddressSpace('guest');
    space.attach(mixed);
    const domain = iommu.domainOf(mixed, 'odd:c0');
    iommu.removeInstance('fake');
    expect([iommu.domainOf(mixed), iommu.groupOf(mixed)?.domain, domain?.name]).toEqual([
      domain,
      domain,
      expect.stringMatching(/^guest#/),
    ]);
  });

  test('and then the other is on nothing: no domain is named', () => {
    const { iommu, mixed } = mixedBench();
    iommu.removeInstance('odd');
    iommu.removeInstance('fake');
    expect([iommu.domainOf(mixed), iommu.groupOf(mixed)?.domain]).toEqual([undefined, undefined]);
    expect(iommu.dmaMappingsOf(mixed)).toBeInstanceOf(IoAddressSpace);
    iommu.cleanup(mixed);
    expect([iommu.groups, iommu.domains]).toEqual([[], []]);
  });

  test('is on nothing either where there is one kind, in the fault as well', () => {
    const made = bench();
    const rot = rotator(made);
    const { iommu, fake } = made;
    iommu.removeInstance('fake');
    expect([iommu.domainOf(rot), iommu.groupOf(rot)?.domain]).toEqual([undefined, undefined]);
    iommu.reportFault(fake, faultReport());
    expect(iommu.faults.at(-1)?.domain).toBeUndefined();
  });
});

describe('an IOMMU that comes in the place of another', () => {
  /** `rot` was configured behind the old one and has not left; `rot2` comes at the same contexts of the new one. */
  function replugged() {
    const made = bench();
    const { iommu, world, fake } = made;
    const rot = rotator(made);
    iommu.removeInstance('fake');
    const again = new FakeIommu(world);
    iommu.registerInstance(again);
    const rot2 = device('rot2', endpoint('rot_src', 4), endpoint('rot_dst', 5));
    iommu.configure(rot2);
    return { iommu, old: fake, again, rot, rot2 };
  }

  test('has groups of its own: the device that stayed configured is in none of them', () => {
    const { iommu, again, rot, rot2 } = replugged();
    expect([iommu.groupOf(rot)?.devices, iommu.groupOf(rot2)?.devices]).toEqual([[rot], [rot2]]);
    expect([iommu.domainOf(rot), iommu.domainOf(rot2)?.name]).toEqual([undefined, 'dma:rot2']);
    expect([...again.targets.keys()]).toEqual(['rot_src:4', 'rot_dst:5']);
  });

  test('has its faults told of the device behind it', () => {
    const { iommu, old, again } = replugged();
    iommu.reportFault(again, faultReport());
    iommu.reportFault(again, faultReport({ context: undefined, cause: 'configuration' }));
    iommu.reportFault(old, faultReport());
    expect(iommu.faults.map((f) => [f.device, f.domain])).toEqual([
      ['rot2', 'dma:rot2'],
      ['rot2', 'dma:rot2'],
      [undefined, undefined],
    ]);
  });

  test('is left alone by what happens to the device that stayed', () => {
    const { iommu, old, again, rot, rot2 } = replugged();
    const [mine, targets] = [iommu.allocPagingDomain(rot2, 'mine'), [...again.targets]];
    const calls = [...old.calls];
    expect([
      codeOf(() => iommu.attach(mine, rot)),
      codeOf(() => iommu.replace(mine, rot, 'rot_src')),
      codeOf(() => iommu.claimOwnership(rot, 'guest')),
    ]).toEqual(['ENODEV', 'ENODEV', 'ENODEV']);
    iommu.cleanup(rot);
    expect([[...again.targets], old.calls]).toEqual([targets, calls]);
    iommu.attach(mine, rot2);
    expect(kindsOf(again)).toEqual(['paging', 'paging']);
  });

  test('takes the device that stayed once it is configured anew, into the group of its contexts', () => {
    const { iommu, again, rot, rot2 } = replugged();
    iommu.cleanup(rot);
    rot.endpoints = [endpoint('rot_src', 14)];
    iommu.configure(rot);
    expect(iommu.groupOf(rot)?.devices).toEqual([rot2, rot]);
    expect([again.targets.size, iommu.domainOf(rot)]).toEqual([3, iommu.domainOf(rot2)]);
  });
});

describe('hardware that was removed', () => {
  test('is not asked what it reserves, by anything that is tried with its device', () => {
    let isThere = true;
    const window: ReservedRegion = { kind: 'direct', iova: M, sizeBytes: M, name: 'window' };
    const made = bench({
      capabilities: { processFormats: [FORMAT] },
      reserved: () => {
        if (!isThere) throw new Error('removed hardware was asked');
        return [window];
      },
    });
    const rot = rotator(made);
    const { iommu } = made;
    expect(iommu.reservedRegionsOf(rot)).toEqual([window]);
    iommu.removeInstance('fake');
    isThere = false;
    expect(iommu.reservedRegionsOf(rot)).toEqual([]);
    const space = iommu.createAddressSpace('guest');
    expect([
      codeOf(() => iommu.attach(iommu.blockedDomain, rot)),
      codeOf(() => iommu.replace(iommu.blockedDomain, rot, 'rot_src')),
      codeOf(() => iommu.claimOwnership(rot, 'guest')),
      codeOf(() => iommu.bindProcess(rot, new FakeProcess('app'))),
      codeOf(() => space.attach(rot)),
    ]).toEqual(Array.from({ length: 5 }, () => 'ENODEV'));
    iommu.configure(rot);
    iommu.detach(iommu.blockedDomain, rot);
    iommu.cleanup(rot);
    expect([iommu.groups, iommu.domains]).toEqual([[], []]);
  });
});
