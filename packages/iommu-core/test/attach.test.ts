import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { IommuDomain } from '../src/index.ts';
import { bench, codeOf, device, endpoint, FakeIommu, rotator } from './fake-iommu.ts';

describe('attach', () => {
  test('needs the default or the blocked domain; replace is the live switch', () => {
    const made = bench();
    const rot = rotator(made);
    const { iommu, fake } = made;
    const [a, b] = [iommu.allocPagingDomain(rot, 'a'), iommu.allocPagingDomain(rot, 'b')];
    iommu.attach(a, rot);
    expect(codeOf(() => iommu.attach(a, rot))).toBe('EBUSY');
    expect(codeOf(() => iommu.attach(b, rot))).toBe('EBUSY');
    fake.calls.length = 0;
    iommu.replace(b, rot);
    expect(fake.calls).toEqual(['attach rot_src paging', 'attach rot_dst paging']);
    expect(iommu.domainOf(rot)).toBe(b);
    iommu.detach(b, rot);
    iommu.replace(iommu.blockedDomain, rot);
    iommu.attach(a, rot);
    expect(iommu.domainOf(rot)).toBe(a);
  });

  test('is for a device that is alone in its group; attachGroup takes all members', () => {
    const { iommu } = bench({ isolate: () => 'all' });
    const [a, b] = [device('a', endpoint('c0', 0)), device('b', endpoint('c1', 1))];
    iommu.configure(a);
    iommu.configure(b);
    const domain = iommu.allocPagingDomain(a);
    expect(codeOf(() => iommu.attach(domain, a))).toBe('EINVAL');
    expect(codeOf(() => iommu.attachEndpoint(domain, a, 'c0'))).toBe('EINVAL');
    iommu.attachGroup(domain, a);
    expect([iommu.domainOf(a), iommu.domainOf(b, 'c1')]).toEqual([domain, domain]);
    expect(codeOf(() => iommu.configure(device('late', endpoint('c2', 2))))).toBe('EBUSY');
    iommu.detach(domain, b);
    expect(iommu.domainOf(a, 'c0')).toBe(iommu.defaultDomainOf(a));
  });

  test('refuses tables made for other hardware, or promises it cannot keep', () => {
    const made = bench();
    const rot = rotator(made);
    const { iommu, world } = made;
    iommu.registerInstance(new FakeIommu(world, { provider: 'odd', tableKey: 'odd' }));
    iommu.registerInstance(
      new FakeIommu(world, { provider: 'small', capabilities: { aperture: { start: 0, last: 0xffff } } }),
    );
    const [odd, small] = [device('odd', endpoint('c', 0, 'odd')), device('small', endpoint('c', 0, 'small'))];
    for (const other of [odd, small]) {
      iommu.configure(other);
      expect(codeOf(() => iommu.attach(iommu.allocPagingDomain(rot), other))).toBe('EINVAL');
    }
    const narrow = iommu.allocPagingDomain(small);
    iommu.attach(narrow, rot);
    expect(iommu.domainOf(rot)).toBe(narrow);
  });

  test('one endpoint at a time: source and destination on domains of their own', () => {
    const made = bench();
    const rot = rotator(made);
    const { iommu } = made;
    const [src, dst] = [iommu.allocPagingDomain(rot, 'src'), iommu.allocPagingDomain(rot, 'dst')];
    iommu.attachEndpoint(src, rot, 'rot_src');
    iommu.attachEndpoint(dst, rot, 'fake:rot_dst');
    expect([iommu.domainOf(rot, 'rot_src'), iommu.domainOf(rot, 'rot_dst')]).toEqual([src, dst]);
    expect(iommu.domainOf(rot)).toBe(src);
    expect(codeOf(() => iommu.attachEndpoint(dst, rot, 'rot_src'))).toBe('EBUSY');
    expect(codeOf(() => iommu.attach(dst, rot))).toBe('EBUSY');
    expect(codeOf(() => iommu.attachEndpoint(dst, rot, 'nowhere'))).toBe('ENODEV');
    iommu.replace(dst, rot, 'rot_src');
    expect(iommu.domainOf(rot, 'rot_src')).toBe(dst);
    iommu.detach(dst, rot, 'rot_dst');
    expect([iommu.domainOf(rot, 'rot_src'), iommu.domainOf(rot, 'rot_dst')]).toEqual([
      dst,
      iommu.defaultDomainOf(rot),
    ]);
  });

  test('a failure on the second endpoint takes the first one back', () => {
    const made = bench();
    const rot = rotator(made);
    const { iommu, fake } = made;
    const domain = iommu.allocPagingDomain(rot);
    const before = fake.state();
    fake.broken.add('rot_dst');
    fake.calls.length = 0;
    expect(codeOf(() => iommu.attach(domain, rot))).toBe('EIO');
    expect(fake.calls).toEqual(['attach rot_src paging', 'attach rot_src paging']);
    expect(fake.state()).toEqual(before);
    domain.free();
  });

  test('the way back is the way there, reversed', () => {
    const { iommu, fake } = bench();
    const mdp = device('mdp', endpoint('c0', 0), endpoint('c1', 1), endpoint('c2', 2));
    iommu.configure(mdp);
    fake.broken.add('c2');
    fake.calls.length = 0;
    expect(codeOf(() => iommu.attach(iommu.blockedDomain, mdp))).toBe('EIO');
    expect(fake.calls).toEqual([
      'attach c0 blocked',
      'attach c1 blocked',
      'attach c1 paging',
      'attach c0 paging',
    ]);
  });

  test('detach never fails: what cannot go back is blocked and reported', () => {
    const made = bench();
    const rot = rotator(made);
    const { iommu, fake, events } = made;
    const domain = iommu.allocPagingDomain(rot);
    iommu.attach(domain, rot);
    fake.broken.add('rot_src');
    iommu.detach(domain, rot);
    expect([...fake.targets.keys()]).toEqual(['rot_dst:5']);
    expect(events.find((e) => e.name === 'iommu:endpoint_quarantined')?.fields).toMatchObject({
      device: 'rot',
      context: 'rot_src',
      step: 'attach to dma:rot',
    });
    expect(iommu.domainOf(rot, 'rot_src')).toBeUndefined();
    domain.free();
    // It comes back with the next attach.
    fake.broken.clear();
    iommu.replace(iommu.allocPagingDomain(rot, 'next'), rot);
    expect(iommu.domainOf(rot, 'rot_src')?.name).toBe('next');
  });

  test('detach of a domain the device is not on, or of a device that is not there, does nothing', () => {
    const made = bench();
    const rot = rotator(made);
    const calls = made.fake.calls.length;
    made.iommu.detach(made.iommu.allocPagingDomain(rot), rot);
    made.iommu.detach(made.iommu.blockedDomain, device('stranger'));
    expect(made.fake.calls.slice(calls)).toEqual(['createPagingTable']);
    expect(codeOf(() => made.iommu.attach(made.iommu.blockedDomain, device('stranger')))).toBe('ENODEV');
  });

  test('any sequence of attach, replace and detach follows the model', () => {
    const verb = fc.constantFrom('attach', 'replace', 'detach');
    const command = fc.tuple(
      verb,
      fc.integer({ min: 0, max: 4 }),
      fc.constantFrom(undefined, 'rot_src', 'rot_dst'),
    );
    fc.assert(
      fc.property(fc.array(command, { maxLength: 30 }), (commands) => {
        const made = bench();
        const rot = rotator(made);
        const { iommu, fake } = made;
        const base = iommu.defaultDomainOf(rot) as IommuDomain;
        const domains = [
          iommu.allocPagingDomain(rot),
          iommu.allocPagingDomain(rot),
          iommu.identityDomain,
          iommu.blockedDomain,
          base,
        ];
        const model = new Map([
          ['rot_src', base],
          ['rot_dst', base],
        ]);
        for (const [what, index, context] of commands) {
          const domain = domains[index] as IommuDomain;
          const parts = context === undefined ? [...model.keys()] : [context];
          const isIdle = parts.every((p) =>
            [base, iommu.blockedDomain].includes(model.get(p) as IommuDomain),
          );
          const code = codeOf(() => {
            if (what === 'replace') iommu.replace(domain, rot, context);
            else if (what === 'detach') iommu.detach(domain, rot, context);
            else if (context === undefined) iommu.attach(domain, rot);
            else iommu.attachEndpoint(domain, rot, context);
          });
          expect(code).toBe(what === 'attach' && !isIdle ? 'EBUSY' : undefined);
          for (const part of parts) {
            if (what === 'detach') {
              if (model.get(part) === domain) model.set(part, base);
            } else if (code === undefined) model.set(part, domain);
          }
          expect(['rot_src', 'rot_dst'].map((c) => iommu.domainOf(rot, c))).toEqual([...model.values()]);
          expect([...fake.targets.values()].map((t) => t.kind)).toEqual(
            [...model.values()].map((d) => d.kind),
          );
        }
        iommu.cleanup(rot);
        expect(fake.targets.size).toBe(0);
      }),
    );
  });
});

describe('ownership', () => {
  test('a claim blocks the group at once; the release brings the default back', () => {
    const made = bench();
    const rot = rotator(made);
    const { iommu, fake } = made;
    iommu.claimOwnership(rot, 'guest');
    expect([...fake.targets.values()].map((t) => t.kind)).toEqual(['blocked', 'blocked']);
    const domain = iommu.allocPagingDomain(rot);
    iommu.attach(domain, rot);
    iommu.detach(domain, rot);
    expect(iommu.domainOf(rot)).toBe(iommu.blockedDomain);
    iommu.attach(domain, rot);
    expect(codeOf(() => iommu.claimOwnership(rot, 'another'))).toBe('EPERM');
    expect(codeOf(() => iommu.releaseOwnership(rot, 'another'))).toBe('EPERM');
    iommu.releaseOwnership(rot, 'guest');
    iommu.releaseOwnership(rot);
    expect([iommu.domainOf(rot), iommu.groupOf(rot)?.owner]).toEqual([iommu.defaultDomainOf(rot), undefined]);
    domain.free();
  });

  test('drivers and owners exclude each other, except that a driver may own its device', () => {
    const made = bench();
    const rot = rotator(made);
    const { iommu } = made;
    const driver = { name: 'rot-driver', matches: () => true, probe: () => undefined };
    rot.driver = driver;
    expect(codeOf(() => iommu.claimOwnership(rot, 'guest'))).toBe('EPERM');
    iommu.claimOwnership(rot, driver);
    iommu.releaseOwnership(rot);
    rot.driver = undefined;
    iommu.claimOwnership(rot, 'guest');
    rot.driver = driver;
    expect(codeOf(() => iommu.configure(rot))).toBe('EBUSY');
    expect(codeOf(() => iommu.claimOwnership(rot, ''))).toBe('EINVAL');
    expect(codeOf(() => iommu.claimOwnership(device('stranger'), 'guest'))).toBe('ENODEV');
  });

  test('a group that is away from its default cannot be claimed', () => {
    const made = bench();
    const rot = rotator(made);
    made.iommu.attach(made.iommu.allocPagingDomain(rot), rot);
    expect(codeOf(() => made.iommu.claimOwnership(rot, 'guest'))).toBe('EBUSY');
  });

  test('the same owner claims through several members and keeps the group until the last is released', () => {
    const { iommu } = bench({ isolate: () => 'all' });
    const [a, b] = [device('a', endpoint('c0', 0)), device('b', endpoint('c1', 1))];
    iommu.configure(a);
    iommu.configure(b);
    iommu.claimOwnership(a, 'guest');
    iommu.claimOwnership(b, 'guest');
    iommu.releaseOwnership(a);
    expect(iommu.domainOf(a)).toBe(iommu.blockedDomain);
    iommu.cleanup(b);
    expect([iommu.groupOf(a)?.owner, iommu.domainOf(a)]).toEqual([undefined, iommu.defaultDomainOf(a)]);
  });

  test('a claim that the hardware refuses leaves everything as it was', () => {
    const made = bench();
    const rot = rotator(made);
    made.fake.broken.add('rot_dst');
    expect(codeOf(() => made.iommu.claimOwnership(rot, 'guest'))).toBe('EIO');
    expect([made.iommu.groupOf(rot)?.owner, made.iommu.domainOf(rot)]).toEqual([
      undefined,
      made.iommu.defaultDomainOf(rot),
    ]);
  });
});
