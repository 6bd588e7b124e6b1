/**
 * What an address space must be, kept independently of it: a flat map of pages, the map calls that are live, and the
 * endpoints that use it. It knows no domain. Where IOMMUs share domains it cannot know which promises bind, so an answer can
 * be open: an operation must succeed when every IOMMU of the system can do it, and must fail when one that is in use cannot.
 */
import type { Device, Endpoint } from '@iommu-lab/driver-core';
import type { IommuCapabilities, Protection } from '../src/index.ts';
import { K } from './fake-iommu.ts';
import { page } from './space-fixture.ts';

export interface Piece {
  readonly address: number;
  readonly length: number;
}

interface Area {
  readonly iova: number;
  readonly pieces: readonly Piece[];
  readonly sizeBytes: number;
}

export type EndpointState = 'home' | 'member' | 'gone';

/** Codes an operation may end with; undefined is success. */
export type Answer = readonly (string | undefined)[];

const SUCCESS: Answer = [undefined];

export class SpaceOracle {
  /** By IOVA, in steps of 4 KiB. */
  readonly pages: Map<number, string> = new Map();
  readonly areas: Map<number, Area> = new Map();
  /** Configured devices, with what became of their endpoints. */
  readonly devices: Map<Device, Map<Endpoint, EndpointState>> = new Map();
  readonly live: Set<string> = new Set();
  readonly #capabilities: ReadonlyMap<string, IommuCapabilities>;
  readonly #isAll: boolean;
  readonly #twinsOf: (device: Device) => readonly Device[];
  /** By configured device, what stands for its group. */
  readonly #groups = new Map<Device, symbol>();

  /** @param twinsOf devices that cannot be told apart from one, itself among them */
  constructor(
    capabilities: ReadonlyMap<string, IommuCapabilities>,
    isAll: boolean,
    twinsOf: (device: Device) => readonly Device[],
  ) {
    this.#capabilities = capabilities;
    this.#isAll = isAll;
    this.#twinsOf = twinsOf;
    for (const provider of capabilities.keys()) this.live.add(provider);
  }

  /** Members by name, sorted. */
  get members(): readonly string[] {
    return [...this.devices]
      .filter(([, e]) => [...e.values()].includes('member'))
      .map(([d]) => d.name)
      .sort();
  }

  isMember(device: Device): boolean {
    return this.members.includes(device.name);
  }

  /** The group of a configured device, or the one that another would join. */
  groupOf(device: Device): readonly Device[] {
    const group = this.#groups.get(device) ?? this.#joinedBy(device);
    return this.#twinsOf(device).filter((d) => this.#groups.has(d) && this.#groups.get(d) === group);
  }

  configured(device: Device): void {
    if (this.devices.has(device)) return;
    this.#groups.set(device, this.#joinedBy(device) ?? Symbol(device.name));
    this.devices.set(device, new Map(device.endpoints.map((e) => [e, 'home'])));
  }

  left(device: Device): void {
    this.devices.delete(device);
    this.#groups.delete(device);
  }

  map(iova: number, pieces: readonly Piece[]): Answer {
    const sizeBytes = pieces.reduce((sum, p) => sum + p.length, 0);
    for (let at = iova; at < iova + sizeBytes; at += 4 * K) if (this.pages.has(at)) return ['EEXIST'];
    return this.#judge({ iova, pieces, sizeBytes }, this.#used());
  }

  /** Takes the mapping over. */
  mapped(iova: number, pieces: readonly Piece[], protection: Protection): void {
    let at = iova;
    for (const { address, length } of pieces) {
      for (let done = 0; done < length; done += 4 * K)
        this.pages.set(at + done, page(address + done, protection));
      at += length;
    }
    this.areas.set(iova, { iova, pieces, sizeBytes: at - iova });
  }

  unmap(iova: number, sizeBytes: number): Answer {
    const touched = this.#areasIn(iova, sizeBytes);
    const isCut = touched.some((a) => a.iova < iova || a.iova + a.sizeBytes > iova + sizeBytes);
    return isCut ? ['EINVAL'] : SUCCESS;
  }

  /** @returns bytes that must have gone */
  unmapped(iova: number, sizeBytes: number): number {
    let gone = 0;
    for (const area of this.#areasIn(iova, sizeBytes)) {
      for (let at = area.iova; at < area.iova + area.sizeBytes; at += 4 * K) this.pages.delete(at);
      this.areas.delete(area.iova);
      gone += area.sizeBytes;
    }
    return gone;
  }

  attach(device: Device): Answer {
    if (!this.devices.has(device)) return ['ENODEV'];
    const endpoints = this.groupOf(device).flatMap((d) => [...(this.devices.get(d) ?? [])]);
    const states = endpoints.map(([, state]) => state);
    if (states.includes('member')) return ['EBUSY'];
    if (states.includes('gone')) return ['ENODEV', ...this.#misfits(endpoints.map(([e]) => e.provider))];
    const answers = [...this.areas.values()].map((area) =>
      this.#judge(area, new Set(endpoints.map(([e]) => e.provider))),
    );
    const failing = answers.find((a) => !a.includes(undefined));
    return failing === undefined
      ? [...SUCCESS, ...answers.flat()]
      : answers.flat().filter((c) => c !== undefined);
  }

  /** Sets what became of the endpoints of the device's group that are not gone. */
  moved(device: Device, state: EndpointState): void {
    if (!this.devices.has(device)) return;
    for (const each of this.groupOf(device)) {
      const endpoints = this.devices.get(each);
      for (const [e, was] of endpoints ?? []) if (was !== 'gone') endpoints?.set(e, state);
    }
  }

  removed(provider: string): void {
    this.live.delete(provider);
    for (const endpoints of this.devices.values()) {
      for (const e of endpoints.keys()) if (e.provider === provider) endpoints.set(e, 'gone');
    }
  }

  /** Only hardware that is there cannot tell devices apart: not those whose IOMMU has gone. */
  #joinedBy(device: Device): symbol | undefined {
    const twin = this.#twinsOf(device).find((d) =>
      [...(this.devices.get(d)?.values() ?? ['gone'])].some((s) => s !== 'gone'),
    );
    return twin && this.#groups.get(twin);
  }

  /** What a configured device may not do where it stands: to the mappings, to each of `providers`. */
  #misfits(providers: readonly string[]): Answer {
    return [...this.areas.values()].flatMap((area) => this.#judge(area, new Set(providers))).filter(Boolean);
  }

  /** IOMMUs that must be able to do what is mapped. */
  #used(): ReadonlySet<string> {
    const used = new Set(this.#isAll ? this.live : []);
    for (const endpoints of this.devices.values()) {
      for (const [e, state] of endpoints) if (state === 'member') used.add(e.provider);
    }
    return used;
  }

  #judge(area: Area, used: ReadonlySet<string>): Answer {
    const codes = new Set<string>();
    let mustFail = false;
    for (const [provider, capabilities] of this.#capabilities) {
      const code = refusal(capabilities, area);
      if (code === undefined) continue;
      codes.add(code);
      // An IOMMU that an address space over all could not reach when it came is not used by it.
      if (used.has(provider) && !this.#isAll) mustFail = true;
    }
    if (codes.size === 0) return SUCCESS;
    return mustFail ? [...codes] : [undefined, ...codes];
  }

  #areasIn(iova: number, sizeBytes: number): readonly Area[] {
    return [...this.areas.values()].filter((a) => a.iova < iova + sizeBytes && iova < a.iova + a.sizeBytes);
  }
}

/** Why an IOMMU cannot map an area, if it cannot. */
function refusal({ pageSizes, aperture }: IommuCapabilities, area: Area): string | undefined {
  const [granule] = pageSizes as [number];
  const { iova, sizeBytes } = area;
  if (iova % granule !== 0 || sizeBytes % granule !== 0) return 'EINVAL';
  if (iova < aperture.start || iova + sizeBytes - 1 > aperture.last) return 'ERANGE';
  return mergedPieces(area.pieces).some((p) => p.address % granule !== 0 || p.length % granule !== 0)
    ? 'EINVAL'
    : undefined;
}

function mergedPieces(pieces: readonly Piece[]): readonly Piece[] {
  return pieces.reduce<Piece[]>((runs, { address, length }) => {
    const last = runs.at(-1);
    if (last === undefined || last.address + last.length !== address) return [...runs, { address, length }];
    return [...runs.slice(0, -1), { address: last.address, length: last.length + length }];
  }, []);
}
