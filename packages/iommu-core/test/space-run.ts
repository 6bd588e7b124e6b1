/** A system of three IOMMUs and six devices, an address space in it, and the oracle that goes along. */
import type { Device, Endpoint } from '@iommu-lab/driver-core';
import { World } from '@iommu-lab/machine';
import {
  type AddressSpaceSpan,
  type IoAddressSpace,
  Iommu,
  type IommuCapabilities,
  type IommuDomain,
  type Protection,
} from '../src/index.ts';
import { CAPABILITIES, codeOf, device, endpoint, FakeIommu, K, M } from './fake-iommu.ts';
import { mustEqual } from './must-equal.ts';
import { pagesOf } from './space-fixture.ts';
import { type Answer, type Piece, SpaceOracle } from './space-oracle.ts';

/** One step; what it does not need it leaves alone. */
export interface Command {
  readonly what:
    | ('map' | 'mapSg' | 'unmap' | 'attach' | 'detach')
    | ('configure' | 'cleanup' | 'replace' | 'register' | 'remove');
  readonly iova: number;
  readonly size: number;
  readonly pieces: readonly Piece[];
  /** An unmap aims at a whole mapping when it is 2 or 3. */
  readonly aim: number;
  readonly protection: Protection;
  /** Chooses a device, a mapping. */
  readonly which: number;
  /** The step that fails, counted from its start. */
  readonly failAt: number | null;
}

/** Three IOMMUs: `b` has the tables of `a` and can do less; `c` has others. */
const KINDS: Readonly<
  Record<string, { readonly tableKey: string; readonly capabilities: IommuCapabilities }>
> = {
  a: { tableKey: 'short', capabilities: { ...CAPABILITIES, pageSizes: [4 * K, 64 * K, M] } },
  b: {
    tableKey: 'short',
    capabilities: { ...CAPABILITIES, pageSizes: [4 * K, 64 * K], aperture: { start: 0, last: 3 * M - 1 } },
  },
  c: {
    tableKey: 'odd',
    capabilities: { ...CAPABILITIES, pageSizes: [16 * K, M], aperture: { start: 64 * K, last: 2 ** 32 - 1 } },
  },
};
const ENDPOINTS: readonly (readonly [string, ...Endpoint[]])[] = [
  ['d0', endpoint('shared', 0, 'a')],
  ['d1', endpoint('shared', 1, 'a')],
  ['d2', endpoint('x', 0, 'b')],
  ['d3', endpoint('x', 0, 'c')],
  ['d4', endpoint('y', 1, 'a'), endpoint('y', 1, 'c')],
  ['d5', endpoint('z', 2, 'b'), endpoint('z', 2, 'a'), endpoint('z2', 3, 'a')],
];

/** A system, the address space under test, and what it must be. */
export class SpaceRun {
  readonly world: World = new World();
  readonly iommu: Iommu = new Iommu(this.world);
  readonly devices: readonly Device[] = ENDPOINTS.map(([name, ...endpoints]) => device(name, ...endpoints));
  /** All that ever were. */
  readonly fakes: FakeIommu[] = Object.keys(KINDS).map((provider) => this.#fake(provider));
  readonly space: IoAddressSpace;
  readonly oracle: SpaceOracle;

  constructor(span: AddressSpaceSpan) {
    for (const fake of this.fakes) this.iommu.registerInstance(fake);
    this.space = this.iommu.createAddressSpace('guest', span);
    const [d0, d1] = this.devices as [Device, Device];
    this.oracle = new SpaceOracle(
      new Map(Object.entries(KINDS).map(([name, { capabilities }]) => [name, capabilities])),
      span === 'all',
      (d) => (d === d0 || d === d1 ? [d0, d1] : [d]),
    );
    for (const each of this.devices) this.#configure(each);
  }

  /** @returns what it was and how it ended */
  step(command: Command): string {
    const { oracle, space, iommu } = this;
    const { what, size, pieces, protection, aim } = command;
    const chosen = this.devices[command.which % this.devices.length] as Device;
    const provider = chosen.endpoints[0]?.provider as string;
    // Half of the unmaps aim at what is mapped.
    const areas = [...oracle.areas.values()];
    const area = aim > 1 ? areas[command.which % Math.max(areas.length, 1)] : undefined;
    const [iova, sizeBytes] = area === undefined ? [command.iova, size] : [area.iova, area.sizeBytes];
    switch (what) {
      case 'map':
        return this.#map(command, [{ address: pieces[0]?.address ?? 0, length: size }], protection);
      case 'mapSg':
        return this.#map(command, pieces, protection);
      case 'unmap':
        return this.#do(command, oracle.unmap(iova, sizeBytes), false, () => {
          const gone = space.unmap(iova, sizeBytes);
          mustEqual(gone, oracle.unmapped(iova, sizeBytes));
        });
      case 'attach':
        return this.#do(command, oracle.attach(chosen), true, () => {
          space.attach(chosen);
          oracle.moved(chosen, 'member');
        });
      case 'detach':
      case 'replace':
        return this.#leave(command, chosen);
      case 'cleanup':
        return this.#do(command, [undefined], false, () => {
          iommu.cleanup(chosen);
          oracle.left(chosen);
        });
      case 'configure':
        return this.#do(command, this.#configureAnswer(chosen), true, () => this.#configure(chosen));
      case 'remove':
        return this.#do(command, [undefined], false, () => {
          iommu.removeInstance(provider);
          oracle.removed(provider);
        });
      case 'register':
        return this.#do(command, oracle.live.has(provider) ? ['EEXIST'] : [undefined], false, () => {
          const fake = this.#fake(provider);
          iommu.registerInstance(fake);
          this.fakes.push(fake);
          oracle.live.add(provider);
        });
    }
  }

  /** Everything that must hold between two steps. */
  check(): void {
    const { oracle, space, iommu, fakes } = this;
    for (const fake of fakes) fake.checkIsolation();
    mustBe(sortedNames(space.members), oracle.members.join());
    mustBe(space.mappedBytes, oracle.pages.size * 4 * K);
    const tables = fakes.flatMap((f) => [...f.tables]);
    mustBe(tables.length, iommu.domains.length);
    // Nobody maps in the default domains: what has leaves is the address space's.
    const filled = tables.filter((t) => t.leaves.size > 0);
    mustBe(filled.length, oracle.pages.size === 0 ? 0 : space.domains.length);
    for (const table of filled) mustBe(firstDifference(pagesOf(table), oracle.pages), undefined);
    const used = new Set<IommuDomain>();
    for (const [each, endpoints] of oracle.devices) {
      for (const [{ provider, context }, state] of endpoints) {
        const domain = iommu.domainOf(each, `${provider}:${context}`);
        const isOn = domain !== undefined && space.domains.includes(domain);
        mustBe(isOn, state === 'member');
        if (isOn) used.add(domain);
      }
    }
    if (space.span === 'members') mustBe(space.domains.length, used.size);
    // The hardware is on the tables that the core says.
    const targets = new Set(fakes.flatMap((f) => [...f.targets.values()]));
    const reached = [...targets].flatMap((t) => (t.kind === 'paging' ? [t.table] : []));
    mustBe(filled.filter((t) => reached.includes(t)).length, oracle.pages.size === 0 ? 0 : used.size);
    const different = [...oracle.pages.keys()].find(
      (iova) => !space.domains.every((d) => d.iovaToPhys(iova) === space.iovaToPhys(iova)),
    );
    mustBe(different, undefined);
  }

  /** Everybody goes. */
  end(): void {
    for (const each of this.devices) this.iommu.cleanup(each);
    this.space.free();
    mustEqual(
      this.fakes.map((f) => [f.tables.size, f.targets.size]),
      this.fakes.map(() => [0, 0]),
    );
    mustEqual(this.iommu.domains, []);
  }

  #fake(provider: string): FakeIommu {
    return new FakeIommu(this.world, { ...KINDS[provider], provider, isolate: (e) => e.context });
  }

  #map(command: Command, pieces: readonly Piece[], protection: Protection): string {
    return this.#do(command, this.oracle.map(command.iova, pieces), true, () => {
      this.space.mapSg(command.iova, pieces, protection);
      this.oracle.mapped(command.iova, pieces, protection);
    });
  }

  #leave(command: Command, chosen: Device): string {
    const { oracle, space, iommu } = this;
    const isReplace = command.what === 'replace';
    const isGone = [...(oracle.devices.get(chosen)?.values() ?? [])].includes('gone');
    const isShared = oracle.groupOf(chosen).length > 1;
    const isMissing = !oracle.devices.has(chosen) || (isGone && !isShared);
    const refusal = isMissing ? 'ENODEV' : isShared ? 'EINVAL' : undefined;
    return this.#do(command, [isReplace ? refusal : undefined], isReplace, () => {
      if (isReplace) iommu.replace(iommu.blockedDomain, chosen);
      else space.detach(chosen);
      oracle.moved(chosen, 'home');
      if (isReplace) iommu.detach(iommu.blockedDomain, chosen);
    });
  }

  #configureAnswer(chosen: Device): Answer {
    if (this.oracle.devices.has(chosen)) return [undefined];
    if (chosen.endpoints.some((e) => !this.oracle.live.has(e.provider))) return ['EPROBE_DEFER'];
    return this.oracle.groupOf(chosen).some((d) => this.oracle.isMember(d)) ? ['EBUSY'] : [undefined];
  }

  #configure(chosen: Device): void {
    this.iommu.configure(chosen);
    this.oracle.configured(chosen);
  }

  /** @param canFail whether a step that fails may end it; else it must succeed all the same */
  #do({ what, failAt }: Command, answer: Answer, canFail: boolean, run: () => void): string {
    const { failpoints } = this.world;
    if (failAt !== null) failpoints.failNth(failAt);
    const code = codeOf(run);
    const isAllowed = answer.includes(code) || (canFail && failpoints.hasFired && code === 'ENOMEM');
    if (!isAllowed) mustEqual([what, code], [what, answer]);
    failpoints.reset();
    return `${what} ${code ?? 'ok'}`;
  }
}

function sortedNames(devices: readonly Device[]): string {
  const names = devices.map((d) => d.name);
  return names.sort((a, b) => (a < b ? -1 : 1)).join();
}

/** `mustEqual` for the many checks that hold: Jest's own takes its time. */
function mustBe(actual: unknown, expected: unknown): void {
  if (actual !== expected) mustEqual(actual, expected);
}

/** Jest's own comparison of maps is quadratic. */
function firstDifference(
  actual: ReadonlyMap<number, string>,
  wanted: ReadonlyMap<number, string>,
): readonly [number, string | undefined, string | undefined] | undefined {
  const iova = [...actual.keys(), ...wanted.keys()].find((at) => actual.get(at) !== wanted.get(at));
  return iova === undefined ? undefined : [iova, actual.get(iova), wanted.get(iova)];
}
