/** A small SoC for the styles: two IOMMUs of one kind, one of another, devices behind each and behind several. */
import type { Device } from '@iommu-lab/driver-core';
import { LabError, World } from '@iommu-lab/machine';
import { type BindingStyle, type BindingStyles, createBindingStyles } from '../../src/bindings/index.ts';
import { Iommu } from '../../src/index.ts';
import { device, endpoint, FakeIommu, K } from '../fake-iommu.ts';

export interface Soc {
  readonly world: World;
  readonly iommu: Iommu;
  readonly styles: BindingStyles;
  /** By provider: `a1` and `a2` of kind `a`, `odd` of kind `odd` with pages of 64 KiB and more. */
  readonly fakes: Readonly<Record<'a1' | 'a2' | 'odd', FakeIommu>>;
  /** By name: cam (a1), vid (a2), both (a1, a2), scan (odd), dual (a1, odd), three (a1 twice, a2). */
  readonly devices: Readonly<Record<(typeof NAMES)[number], Device>>;
  /** Two more IOMMUs come, and a device behind each: `late` of kind `a`, `new` of a kind that nobody knew. */
  readonly arrive: () => void;
}

const NAMES = ['cam', 'vid', 'both', 'scan', 'dual', 'three', 'late', 'new'] as const;

/** The bus `soc` is taken by kind `a`, `side` by `odd`, `new-bus` by the kind that comes later. */
export function makeSoc(): Soc {
  const world = new World();
  // A default that fits every device, also one behind IOMMUs of different kinds.
  const iommu = new Iommu(world, { defaultDomain: 'blocked' });
  const oddPages = { pageSizes: [64 * K, 1024 * K] };
  const fakes = {
    a1: new FakeIommu(world, { provider: 'a1', tableKey: 'a' }),
    a2: new FakeIommu(world, { provider: 'a2', tableKey: 'a' }),
    odd: new FakeIommu(world, { provider: 'odd', tableKey: 'odd', capabilities: oddPages }),
  };
  for (const fake of Object.values(fakes)) iommu.registerInstance(fake);
  const devices = {
    cam: device('cam', endpoint('cam', 0, 'a1')),
    vid: device('vid', endpoint('vid', 1, 'a2')),
    both: device('both', endpoint('both', 2, 'a1'), endpoint('both', 2, 'a2')),
    scan: device('scan', endpoint('scan', 3, 'odd')),
    dual: device('dual', endpoint('dual', 4, 'a1'), endpoint('dual', 4, 'odd')),
    three: device('three', endpoint('t0', 5, 'a1'), endpoint('t1', 6, 'a1'), endpoint('t2', 7, 'a2')),
    late: device('late', endpoint('late', 8, 'late')),
    new: device('new', endpoint('new', 9, 'new')),
  };
  const { late, new: fresh, ...early } = devices;
  for (const each of Object.values(early)) iommu.configure(each);
  const styles = createBindingStyles(iommu);
  styles.perBus.setKind('soc', 'a');
  styles.perBus.setKind('side', 'odd');
  styles.perBus.setKind('new-bus', 'new');
  const arrive = (): void => {
    iommu.registerInstance(new FakeIommu(world, { provider: 'late', tableKey: 'a' }));
    iommu.registerInstance(new FakeIommu(world, { provider: 'new', tableKey: 'new' }));
    iommu.configure(late);
    iommu.configure(fresh);
  };
  return { world, iommu, styles, fakes, devices, arrive };
}

/** The styles by name, in their order. */
export function stylesOf({ styles }: Soc): readonly BindingStyle[] {
  return Object.values(styles) as readonly BindingStyle[];
}

/** Where `iova` leads at each endpoint of a device, by what its IOMMUs have been programmed with. */
export function seenBy({ iommu }: Soc, who: Device, iova: number): readonly (number | undefined)[] {
  return who.endpoints.map(({ provider, context, streamIds }) => {
    const hardware = iommu.instances.find((i) => i.provider === provider) as FakeIommu;
    const target = hardware.targets.get(`${context}:${streamIds.join()}`);
    return target?.kind === 'paging' ? target.table.iovaToPhys(iova) : undefined;
  });
}

/** All that the first IOMMUs remember, and what the devices behind them are on. */
export function stateOf({ iommu, devices, fakes }: Soc): unknown {
  const { late: _late, new: _new, ...early } = devices;
  return {
    hardware: Object.values(fakes).map((fake) => fake.state()),
    domains: Object.values(early).map((d) =>
      d.endpoints.map((e) => iommu.domainOf(d, `${e.provider}:${e.context}`)?.name),
    ),
  };
}

/** Runs `steps` in their order. @returns `ok`, or `EINVAL at map`: which failed, and how */
export function outcomeOf(steps: readonly (readonly [name: string, run: () => void])[]): string {
  for (const [name, run] of steps) {
    try {
      run();
    } catch (error) {
      if (error instanceof LabError) return `${error.code} at ${name}`;
      throw error;
    }
  }
  return 'ok';
}
