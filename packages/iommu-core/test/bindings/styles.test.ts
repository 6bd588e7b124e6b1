import { describe, expect, test } from '@jest/globals';
import { isLabError } from '@iommu-lab/machine';
import { READ_WRITE } from '../../src/index.ts';
import { codeOf, device, endpoint, FakeIommu, K } from '../fake-iommu.ts';
import { mustEqual } from '../must-equal.ts';
import { IOVA, MEMORY } from './jobs.ts';
import { makeSoc, seenBy, stateOf, stylesOf } from './soc.ts';

const NAMES = stylesOf(makeSoc()).map((s) => s.name);

/** A fresh SoC, a style of it by name, and what a caller says about a device. */
function prepared(name: string, who: 'cam' | 'both' | 'three' = 'cam') {
  const soc = makeSoc();
  const style = stylesOf(soc).find((s) => s.name === name)!;
  return { soc, style, wish: { provider: 'a1', bus: 'soc', device: soc.devices[who] } };
}

describe.each(NAMES)('%s', (name) => {
  test('says who chooses, and when kernels had it', () => {
    const { style } = prepared(name);
    expect([style.whoSays, style.years].every((text) => text.length > 5)).toBe(true);
  });

  test('a second attach is EBUSY and leaves the first one alone', () => {
    const { soc, style, wish } = prepared(name);
    const [one, two] = ['one', 'two'].map((each) => {
      const domain = style.alloc(wish, each);
      style.bind?.(domain, wish);
      domain.map(IOVA, each === 'one' ? MEMORY : 2 * MEMORY, 4 * K, READ_WRITE);
      return domain;
    });
    style.attach(one!, wish.device);
    expect(codeOf(() => style.attach(one!, wish.device))).toBe('EBUSY');
    expect(codeOf(() => style.attach(two!, wish.device))).toBe('EBUSY');
    expect(seenBy(soc, wish.device, IOVA)).toEqual([MEMORY]);
  });

  test('detach of a device that is not attached there changes nothing', () => {
    const { soc, style, wish } = prepared(name);
    const [domain, other] = [style.alloc(wish, 'mine'), style.alloc(wish, 'other')];
    style.detach(domain, wish.device);
    for (const each of [domain, other]) style.bind?.(each, wish);
    style.attach(domain, wish.device);
    const before = stateOf(soc);
    style.detach(other, wish.device);
    style.detach(domain, device('stranger'));
    expect(stateOf(soc)).toEqual(before);
  });

  test('a device that is not configured, or has no IOMMU, is ENODEV', () => {
    const { style, wish } = prepared(name);
    const domain = style.alloc(wish, 'mine');
    style.bind?.(domain, wish);
    expect(codeOf(() => style.attach(domain, device('no endpoint')))).toBe('ENODEV');
    expect(codeOf(() => style.attach(domain, device('raw', endpoint('raw', 20, 'a1'))))).toBe('ENODEV');
  });

  test('a freed domain is EINVAL, freeing it again is harmless', () => {
    const { style, wish } = prepared(name);
    const domain = style.alloc(wish, 'mine');
    style.bind?.(domain, wish);
    domain.free();
    domain.free();
    expect(codeOf(() => domain.map(IOVA, MEMORY, 4 * K, READ_WRITE))).toBe('EINVAL');
    expect(codeOf(() => style.attach(domain, wish.device))).toBe('EINVAL');
  });

  test('the nth failure of any step leaves everything as it was, and the step can be repeated', () => {
    // The styles that name an IOMMU attach a device at one; here it has two endpoints there.
    const isNaming = ['named', 'bound-later'].includes(name);
    const sites = new Set<string>();
    for (const step of ['alloc', 'bind', 'map', 'attach'] as const) {
      for (let n = 1, hasFired = true; hasFired; n++) {
        const { soc, style, wish } = prepared(name, isNaming ? 'cam' : 'three');
        const run = (which: string, made: { domain?: ReturnType<typeof style.alloc> }): void => {
          if (which === 'alloc') made.domain = style.alloc(wish, 'mine');
          if (which === 'bind') style.bind?.(made.domain!, wish);
          if (which === 'map') made.domain!.map(IOVA, MEMORY, 68 * K, READ_WRITE);
          if (which === 'attach') style.attach(made.domain!, wish.device);
        };
        const steps = ['alloc', 'bind', 'map', 'attach'];
        const at = steps.indexOf(step);
        const made: { domain?: ReturnType<typeof style.alloc> } = {};
        for (const each of steps.slice(0, at)) run(each, made);
        const before = stateOf(soc);
        soc.world.failpoints.failNth(n);
        let code: string | undefined;
        try {
          run(step, made);
        } catch (error) {
          if (!isLabError(error)) throw error;
          code = error.code;
        }
        ({ hasFired } = soc.world.failpoints);
        for (const site of soc.world.failpoints.hits().keys()) sites.add(site);
        soc.world.failpoints.reset();
        mustEqual([step, n, code], [step, n, hasFired ? 'ENOMEM' : undefined]);
        if (!hasFired) continue;
        mustEqual(stateOf(soc), before);
        for (const each of steps.slice(at)) run(each, made);
        mustEqual(
          seenBy(soc, wish.device, IOVA + 64 * K),
          wish.device.endpoints.map(() => MEMORY + 64 * K),
        );
      }
    }
    expect([...sites]).toEqual(expect.arrayContaining(['fake.attach', 'fake.map', 'iommu-core.domain']));
  });
});

describe('named', () => {
  test('attaches the endpoint that is meant, where two IOMMUs have contexts of one name', () => {
    const { soc } = prepared('named');
    const { both } = soc.devices;
    const { named } = soc.styles;
    const domain = named.alloc({ provider: 'a2' }, 'of a2');
    domain.map(IOVA, MEMORY, 4 * K, READ_WRITE);
    named.attach(domain, both, 'both');
    expect(seenBy(soc, both, IOVA)).toEqual([undefined, MEMORY]);
    expect(codeOf(() => named.attach(domain, both, 'nowhere'))).toBe('ENODEV');
    expect(codeOf(() => named.attach(domain, soc.devices.cam, 'cam'))).toBe('EINVAL');
    expect(codeOf(() => named.attach(domain, soc.devices.three, 't0'))).toBe('EINVAL');
    expect(codeOf(() => domain.free())).toBe('EBUSY');
    named.detach(domain, both);
    domain.free();
  });

  test('knows its own domains only', () => {
    const { soc } = prepared('named');
    const foreign = soc.iommu.allocPagingDomain(soc.devices.cam);
    expect(codeOf(() => soc.styles.named.attach(foreign, soc.devices.cam))).toBe('EINVAL');
  });

  test('two domains of one IOMMU can be switched on the fly', () => {
    const { soc } = prepared('named');
    const [x, y] = ['x', 'y'].map((n) => soc.styles.named.alloc({ provider: 'a1' }, n));
    y!.map(IOVA, MEMORY, 4 * K, READ_WRITE);
    soc.styles.named.attach(x!, soc.devices.cam);
    soc.iommu.replace(y!, soc.devices.cam);
    expect(seenBy(soc, soc.devices.cam, IOVA)).toEqual([MEMORY]);
  });
});

describe('bound-later', () => {
  test('binds once; a failed bind can be repeated', () => {
    const { boundLater } = makeSoc().styles;
    const domain = boundLater.alloc({}, 'mine');
    expect(codeOf(() => boundLater.bind(domain, { provider: 'nowhere' }))).toBe('ENODEV');
    boundLater.bind(domain, { provider: 'a1' });
    expect(codeOf(() => boundLater.bind(domain, { provider: 'a1' }))).toBe('EBUSY');
    expect(codeOf(() => boundLater.bind(domain, { provider: 'a2' }))).toBe('EBUSY');
  });

  test('can do nothing before', () => {
    const { styles, devices } = makeSoc();
    const domain = styles.boundLater.alloc({}, 'mine');
    expect(codeOf(() => domain.map(IOVA, MEMORY, 4 * K, READ_WRITE))).toBe('EINVAL');
    expect(codeOf(() => domain.unmap(IOVA, 4 * K))).toBe('EINVAL');
    expect(codeOf(() => styles.boundLater.attach(domain, devices.cam))).toBe('EINVAL');
    expect(domain.iovaToPhys(IOVA)).toBeUndefined();
    domain.free();
    expect(codeOf(() => styles.boundLater.bind(domain, { provider: 'a1' }))).toBe('EINVAL');
  });
});

describe('at-attach', () => {
  test('a late error leaves the device where it was; what is mapped rightly afterwards reaches it', () => {
    const soc = makeSoc();
    const { scan } = soc.devices;
    const space = soc.styles.atAttach.alloc({}, 'mine');
    space.map(IOVA, MEMORY, 4 * K, READ_WRITE);
    const before = stateOf(soc);
    expect(codeOf(() => soc.styles.atAttach.attach(space, scan))).toBe('EINVAL');
    expect(stateOf(soc)).toEqual(before);
    space.unmap(IOVA, 4 * K);
    space.map(IOVA, MEMORY, 64 * K, READ_WRITE);
    soc.styles.atAttach.attach(space, scan);
    expect(seenBy(soc, scan, IOVA)).toEqual([MEMORY]);
  });
});

describe('per-bus', () => {
  test('a bus has one kind, for good', () => {
    const { perBus } = makeSoc().styles;
    expect(codeOf(() => perBus.setKind('soc', 'odd'))).toBe('EBUSY');
    expect(codeOf(() => perBus.setKind('soc', 'a'))).toBe('EBUSY');
    expect([perBus.hasKind('soc'), perBus.hasKind('pci')]).toEqual([true, false]);
  });

  test('a domain has the page sizes that all IOMMUs of the kind have; one that can do less refuses it', () => {
    const soc = makeSoc();
    const add = (provider: string, ...pageSizes: readonly number[]) => {
      const capabilities = { pageSizes };
      soc.iommu.registerInstance(new FakeIommu(soc.world, { provider, tableKey: 'a', capabilities }));
    };
    const alloc = () => soc.styles.perBus.alloc({ bus: 'soc' }, 'mine');
    const early = alloc();
    add('big', 64 * K, 1024 * K);
    expect(alloc().capabilities.pageSizes).toEqual([64 * K, 1024 * K]);
    const behind = device('behind', endpoint('b', 30, 'big'));
    soc.iommu.configure(behind);
    expect(codeOf(() => soc.styles.perBus.attach(early, behind))).toBe('EINVAL');
    add('small', 4 * K);
    expect(codeOf(alloc)).toBe('EOPNOTSUPP');
  });
});
