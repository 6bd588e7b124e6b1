/** A fixture with tools around it: domains, marked pages, DMA that is followed to its end, and faults that were reported. */
import type { Device, Endpoint } from '@iommu-lab/driver-core';
import {
  type Fault,
  type Iommu,
  type IommuCapabilities,
  type IommuDomain,
  type IommuInstance,
  READ_WRITE,
} from '@iommu-lab/iommu-core';
import {
  type AccessAttributes,
  alignUp,
  type BusMaster,
  hex,
  type PhysAddr,
  type Transfer,
  type World,
} from '@iommu-lab/machine';
import { demand, demandEqual } from './demand.ts';
import type { ComplianceFixture } from './fixture.ts';

/** One of the two devices with its master. */
export interface Side {
  readonly device: Device;
  readonly master: BusMaster;
  readonly endpoint: Endpoint;
}

/** How a transfer ended. */
export interface DmaResult {
  readonly state: 'done' | 'faulted';
  readonly doneBytes: number;
  readonly data: Uint8Array;
}

/** Granules in the window of IOVAs that most checks use. */
export const WINDOW_PAGES = 64;
/** Length of the marks by which pages are told apart. */
export const MARK_BYTES = 16;

export class Bench {
  readonly fixture: ComplianceFixture;
  readonly world: World;
  readonly iommu: Iommu;
  readonly first: Side;
  readonly second: Side;
  /** What a domain for the first device can do. */
  readonly capabilities: IommuCapabilities;
  /** The smallest page. */
  readonly granule: number;
  /** The largest page. */
  readonly largest: number;
  /** First IOVA of the window: inside the aperture, aligned to the window's size where RAM of that alignment fits. */
  readonly base: number;
  /** Whether the window's IOVAs are, as physical addresses, RAM with marks: what bypasses the tables is then seen. */
  readonly isMirrored: boolean;
  /** Faults reported since the bench was made. */
  readonly faults: Fault[] = [];
  /** Hears of steps that can fail. */
  readonly onFailSite: (site: string) => void;
  #marks = 0;

  constructor(fixture: ComplianceFixture, onFailSite: (site: string) => void = () => undefined) {
    this.fixture = fixture;
    this.onFailSite = onFailSite;
    this.world = fixture.world;
    this.iommu = fixture.iommu;
    for (const device of fixture.devices) {
      if (this.iommu.groupOf(device) === undefined) this.iommu.configure(device);
    }
    this.first = this.#side(fixture.devices[0]);
    this.second = this.#side(fixture.devices[1]);
    const sample = this.iommu.allocPagingDomain(this.first.device, 'sample');
    this.capabilities = sample.capabilities;
    sample.free();
    this.granule = this.capabilities.pageSizes[0] ?? 0;
    this.largest = this.capabilities.pageSizes.at(-1) ?? 0;

    const windowBytes = WINDOW_PAGES * this.granule;
    const { start, last } = this.capabilities.aperture;
    const mirror = fixture.allocate(windowBytes, windowBytes);
    for (let i = 0; i < WINDOW_PAGES; i++) this.store(mirror + i * this.granule, this.#mirrorPage());
    this.isMirrored = mirror >= start && mirror + windowBytes - 1 <= last;
    this.base = this.isMirrored ? mirror : alignUp(start, Math.max(windowBytes, this.largest));
    this.iommu.onFault((fault) => {
      this.faults.push(fault);
    });
  }

  /** The `index`th granule of the window. */
  iova(index: number): number {
    return this.base + index * this.granule;
  }

  /** An IOVA to which the largest page is aligned; one such page fits before it (unless it is 0) and two after it. */
  largeIova(): number {
    const first = alignUp(this.capabilities.aperture.start, this.largest);
    const second = first + this.largest;
    return second + 2 * this.largest - 1 <= this.capabilities.aperture.last ? second : first;
  }

  /** Both devices. */
  get sides(): readonly [Side, Side] {
    return [this.first, this.second];
  }

  /** The instance in front of a device's first endpoint. */
  instanceOf(side: Side): IommuInstance {
    const instance = this.iommu.instances.find((i) => i.provider === side.endpoint.provider);
    demand(instance !== undefined, `the provider ${side.endpoint.provider} has an instance`);
    return instance;
  }

  /** A paging domain with nothing mapped. */
  domain(name: string, side: Side = this.first): IommuDomain {
    return this.iommu.allocPagingDomain(side.device, name);
  }

  /** A paging domain that is attached to the device. */
  attached(name: string, side: Side = this.first): IommuDomain {
    const domain = this.domain(name, side);
    this.iommu.attach(domain, side.device);
    return domain;
  }

  /** A paging domain, attached, with a fresh page at the `index`th granule. */
  serving(name: string, index: number = 0, side: Side = this.first): { domain: IommuDomain; page: number } {
    const page = this.page();
    this.markAt(page);
    const domain = this.attached(name, side);
    domain.map(this.iova(index), page, this.granule, READ_WRITE);
    return { domain, page };
  }

  /** Fresh RAM, zeroed at its first `MARK_BYTES`. */
  page(sizeBytes: number = this.granule, alignBytes: number = sizeBytes): number {
    const address = this.fixture.allocate(sizeBytes, alignBytes);
    this.store(address, new Uint8Array(MARK_BYTES));
    return address;
  }

  /** Fresh RAM of which no two granules follow each other. */
  scatteredPages(count: number): readonly number[] {
    const block = this.page(2 * count * this.granule, this.granule);
    // Every second granule, the odd ones backwards: neither neighbours nor in order.
    return Array.from({ length: count }, (_, i) => block + 2 * ((i * 7 + 3) % count) * this.granule);
  }

  /** Puts a mark that no other place has at a physical address. @returns the mark */
  markAt(address: number): Uint8Array {
    const mark = this.newMark();
    this.store(address, mark);
    return mark;
  }

  store(address: number, bytes: Uint8Array): void {
    demand(this.fixture.memory.write(address as PhysAddr, bytes), `the fixture has RAM at ${hex(address)}`);
  }

  load(address: number, sizeBytes: number = MARK_BYTES): Uint8Array {
    const bytes = new Uint8Array(sizeBytes);
    demand(this.fixture.memory.read(address as PhysAddr, bytes), `the fixture has RAM at ${hex(address)}`);
    return bytes;
  }

  /** Reads by DMA, and lets the system come to rest. */
  read(master: BusMaster, iova: number, sizeBytes: number = MARK_BYTES): DmaResult {
    const data = new Uint8Array(sizeBytes);
    return this.#follow(master.read(iova, data), data);
  }

  /** Writes by DMA, and lets the system come to rest. */
  write(master: BusMaster, iova: number, data: Uint8Array): DmaResult {
    return this.#follow(master.write(iova, data), data);
  }

  /** A master of the side's device with other attributes. */
  masterWith(side: Side, attributes: Partial<AccessAttributes>): BusMaster {
    return this.fixture.createMaster(side.device, {
      isPrivileged: false,
      isInstruction: false,
      isSecure: false,
      ...attributes,
    });
  }

  /** Demands that a DMA read at `iova` returns what stands at `address`. */
  demandReads(side: Side | BusMaster, iova: number, address: number): void {
    const mark = this.markAt(address);
    const result = this.read(masterOf(side), iova);
    const what = `${masterOf(side).name}: a read at ${hex(iova)}, mapped to ${hex(address)},`;
    demandEqual(result.state, 'done', `${what} ends`);
    demandEqual(result.data, mark, `${what} returns what stands there`);
  }

  /** Demands that a DMA write at `iova` arrives at `address`. */
  demandWrites(side: Side | BusMaster, iova: number, address: number): void {
    const mark = this.newMark();
    const result = this.write(masterOf(side), iova, mark);
    const what = `${masterOf(side).name}: a write at ${hex(iova)}, mapped to ${hex(address)},`;
    demandEqual(result.state, 'done', `${what} ends`);
    demandEqual(this.load(address), mark, `${what} arrives there`);
  }

  /** Demands that a DMA read at `iova` faults and moves nothing. */
  demandReadFaults(side: Side | BusMaster, iova: number, why: string): void {
    const { state, doneBytes } = this.read(masterOf(side), iova);
    demandEqual({ state, doneBytes }, { state: 'faulted', doneBytes: 0 }, `a read at ${hex(iova)} (${why})`);
  }

  /** Demands that a DMA write at `iova` faults, and changes nothing at `address` when one is given. */
  demandWriteFaults(side: Side | BusMaster, iova: number, why: string, address?: number): void {
    const before = address === undefined ? undefined : this.markAt(address);
    const { state, doneBytes } = this.write(masterOf(side), iova, this.newMark());
    const what = `a write at ${hex(iova)} (${why})`;
    demandEqual({ state, doneBytes }, { state: 'faulted', doneBytes: 0 }, what);
    if (address !== undefined) demandEqual(this.load(address), before, `${what} changes nothing`);
  }

  /** Demands that neither reads nor writes at `iova` get through. */
  demandNoAccess(side: Side | BusMaster, iova: number, why: string, address?: number): void {
    this.demandReadFaults(side, iova, why);
    this.demandWriteFaults(side, iova, why, address);
  }

  #side(device: Device): Side {
    const [endpoint] = device.endpoints;
    demand(endpoint !== undefined, `${device.name} has an endpoint`);
    return { device, endpoint, master: this.fixture.createMaster(device) };
  }

  #follow(transfer: Transfer, data: Uint8Array): DmaResult {
    this.fixture.settle();
    const { state, doneBytes } = transfer;
    demand(state !== 'pending', `a transfer at ${hex(transfer.startAddress)} hangs`);
    return { state, doneBytes, data };
  }

  /** A granule full of one mark: whatever is read of it by a way around the tables is recognised. */
  #mirrorPage(): Uint8Array {
    const page = new Uint8Array(this.granule);
    page.set(this.newMark());
    for (let filled = MARK_BYTES; filled < page.length; filled *= 2) page.copyWithin(filled, 0, filled);
    return page;
  }

  /** Bytes that no other place has. */
  newMark(): Uint8Array {
    const mark = new Uint8Array(MARK_BYTES);
    const view = new DataView(mark.buffer);
    this.#marks++;
    for (let at = 0; at < MARK_BYTES; at += 4) view.setUint32(at, (0xa5000000 + this.#marks) ^ (at << 20));
    return mark;
  }
}

function masterOf(side: Side | BusMaster): BusMaster {
  return 'master' in side ? side.master : side;
}
