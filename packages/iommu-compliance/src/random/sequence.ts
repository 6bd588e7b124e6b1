/** Runs one random sequence on the backend and on the model, and compares after each step. */
import type { IommuDomain } from '@iommu-lab/iommu-core';
import { isLabError } from '@iommu-lab/machine';
import type { Bench, Side } from '../bench.ts';
import { demand, demandEqual, sameBytes } from '../demand.ts';
import { FlatModel } from './flat-model.ts';
import { DOMAINS, PAGES, type Step } from './steps.ts';

/** The RAM that sequences use, and what it holds before each. */
export interface Ram {
  readonly address: number;
  readonly initial: Uint8Array;
}

type StepOf<K extends Step['kind']> = Extract<Step, { kind: K }>;

/** @throws ComplianceFailure where backend and model part. The devices are back on their default domain afterwards */
export function runSequence(bench: Bench, ram: Ram, steps: readonly Step[]): void {
  const tables = bench.fixture.allocatedTableBytes();
  const sequence = new Sequence(bench, ram);
  try {
    steps.forEach((step, index) => sequence.run(step, index));
    sequence.compareRam();
  } finally {
    sequence.close();
  }
  demandEqual(bench.fixture.allocatedTableBytes(), tables, 'table memory after the sequence');
}

class Sequence {
  readonly #bench: Bench;
  readonly #ram: Ram;
  readonly #model: FlatModel;
  readonly #sides: readonly Side[];
  readonly #domains: readonly IommuDomain[];
  /** Index of the domain that each side is on. */
  readonly #current: number[];

  constructor(bench: Bench, ram: Ram) {
    this.#bench = bench;
    this.#ram = ram;
    this.#model = new FlatModel(bench.granule, ram.initial);
    bench.store(ram.address, ram.initial);
    // The second device takes part where its hardware accepts the first one's tables.
    const isShareable = bench.instanceOf(bench.first).tableKey === bench.instanceOf(bench.second).tableKey;
    this.#sides = isShareable ? bench.sides : [bench.first];
    this.#domains = Array.from({ length: DOMAINS }, (_, i) => bench.domain(`random-${i}`));
    this.#current = this.#sides.map((_, i) => i);
    this.#sides.forEach((side, i) => bench.iommu.attach(this.#domain(i), side.device));
  }

  run(step: Step, index: number): void {
    const what = `step ${index} ${JSON.stringify(step)}`;
    if (step.kind === 'map') this.#map(step, what);
    else if (step.kind === 'unmap') this.#unmap(step, what);
    else if (step.kind === 'move') this.#move(step);
    else this.#dma(step, index, what);
  }

  compareRam(): void {
    const { granule } = this.#bench;
    const [is, wanted] = [this.#bench.load(this.#ram.address, this.#ram.initial.length), this.#model.ram];
    if (sameBytes(is, wanted)) return;
    const at = is.findIndex((byte, i) => byte !== wanted[i]);
    const where = `byte ${at % granule} of page ${Math.floor(at / granule)} of the RAM at the end`;
    demandEqual(is[at], wanted[at], where);
  }

  close(): void {
    for (const { device } of this.#sides) {
      const domain = this.#bench.iommu.domainOf(device);
      if (domain !== undefined) this.#bench.iommu.detach(domain, device);
    }
    for (const domain of this.#domains) domain.free();
  }

  #map(step: StepOf<'map'>, what: string): void {
    const { granule, capabilities } = this.#bench;
    const { readOnly, writeOnly } = capabilities.permissions;
    const count = Math.min(step.count, PAGES - step.at, PAGES - step.to);
    const rights = {
      read: step.rights !== 'w' || !writeOnly,
      write: step.rights !== 'r' || !readOnly,
    };
    const isFree = this.#model.isFree(step.domain, step.at, count);
    const address = this.#ram.address + step.to * granule;
    let isMapped = true;
    try {
      this.#domain(step.domain).map(this.#bench.iova(step.at), address, count * granule, rights);
    } catch (error) {
      if (!isLabError(error, 'EEXIST')) throw error;
      isMapped = false;
    }
    demandEqual(isMapped, isFree, `${what}: whether it was mapped`);
    if (isMapped) this.#model.map(step.domain, step.at, step.to, count, rights);
  }

  /**
   * What an unmap must take is known; what it may take besides (the rest of a larger page) is accepted where there are
   * larger pages, and the model follows.
   */
  #unmap(step: StepOf<'unmap'>, what: string): void {
    const { granule, capabilities } = this.#bench;
    const count = Math.min(step.count, PAGES - step.at);
    const run = this.#model.runLength(step.domain, step.at);
    const hasLarger = capabilities.pageSizes.length > 1;
    let removed: number;
    try {
      removed = this.#domain(step.domain).unmap(this.#bench.iova(step.at), count * granule) / granule;
    } catch (error) {
      // From inside a larger page: refused, and nothing is removed.
      if (isLabError(error, 'EINVAL') && hasLarger && run > 0) return;
      throw error;
    }
    const least = Math.min(count, run);
    const isRestOfPage = hasLarger && removed > least && removed <= run && (step.at + removed) % 2 === 0;
    demand(
      removed === least || isRestOfPage,
      `${what}: ${removed} pages were removed, ${least} were to be, ${run} were mapped`,
    );
    this.#model.unmap(step.domain, step.at, removed);
  }

  #move(step: StepOf<'move'>): void {
    const which = step.side % this.#sides.length;
    this.#bench.iommu.replace(
      this.#domains[step.domain] ?? this.#bench.iommu.blockedDomain,
      (this.#sides[which] as Side).device,
    );
    this.#current[which] = step.domain;
  }

  #dma(step: StepOf<'dma'>, index: number, what: string): void {
    const { granule } = this.#bench;
    const which = step.side % this.#sides.length;
    const { master } = this.#sides[which] as Side;
    const domain = this.#current[which] ?? 0;
    const at = this.#model.aim(domain, step.at, step.aim) * granule + step.offset;
    const sent = bytesOf(Math.min(step.length, PAGES * granule - at), index);
    const iova = this.#bench.base + at;
    const result = step.isWrite
      ? this.#bench.write(master, iova, sent)
      : this.#bench.read(master, iova, sent.length);
    const expected = this.#model.transfer(domain, at, sent, step.isWrite);
    demandEqual([result.state, result.doneBytes], [expected.state, expected.doneBytes], what);
    if (!step.isWrite) {
      const end = expected.doneBytes;
      demandEqual(result.data.slice(0, end), expected.data.slice(0, end), `${what}: what was read`);
    }
  }

  #domain(index: number): IommuDomain {
    return this.#domains[index] as IommuDomain;
  }
}

function bytesOf(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = i * 13 + seed * 101 + (i >> 8);
  return bytes;
}
