/**
 * TLB maintenance (R18 to R24). Every operation is over when the register write returns; there is no completion
 * register. Whatever it is about, it empties the block fetch buffer.
 */
import { extract, hex, type World } from '@iommu-lab/machine';
import type { ResolvedConfig } from './config.ts';
import type { ContextBank } from './context-bank.ts';
import type { FetchBuffer } from './fetch-buffer.ts';
import { TLBIASID, TLBIVA, TLBIVMID } from './regs/index.ts';
import type { SmmuStatistics } from './statistics.ts';
import { EVERY, GLOBALS } from './tlb-key.ts';
import type { Tlb } from './tlb.ts';

/** The maintenance operations of one instance, by register; `data` is the word written. */
export class Maintenance {
  readonly #world: World;
  readonly #config: ResolvedConfig;
  readonly #tlb: Tlb;
  readonly #buffer: FetchBuffer;
  readonly #statistics: SmmuStatistics;

  constructor(
    world: World,
    config: ResolvedConfig,
    tlb: Tlb,
    buffer: FetchBuffer,
    statistics: SmmuStatistics,
  ) {
    this.#world = world;
    this.#config = config;
    this.#tlb = tlb;
    this.#buffer = buffer;
    this.#statistics = statistics;
  }

  /** GLOBAL_TLBIALL. */
  globalAll(sparesLocked: boolean): void {
    this.#done('GLOBAL_TLBIALL', undefined, this.#tlb.dropAll(EVERY, EVERY, sparesLocked));
  }

  /** TLBIVMID: global entries too. */
  vmid(data: number, sparesLocked: boolean): void {
    const vmid = extract(data, TLBIVMID.fields.VMID);
    this.#done('TLBIVMID', undefined, this.#tlb.dropAll(vmid, EVERY, sparesLocked));
  }

  /** CTX_TLBIALL, in the chosen meaning of "the bank's entries" (R21). */
  contextAll(bank: ContextBank): void {
    this.#done('CTX_TLBIALL', bank, this.#dropContext(bank, bank.lock.sparesAtAll));
  }

  /** TLBIASID (R22). */
  asid(bank: ContextBank, data: number): void {
    const { vmid } = bank;
    const asid = extract(data, TLBIASID.fields.ASID);
    const spares = bank.lock.sparesAtAsid;
    let dropped = this.#tlb.dropAll(vmid, asid, spares);
    if (this.#config.readings.asidInvalidateGlobals === 'dropped') {
      dropped += this.#tlb.dropAll(vmid, GLOBALS, spares);
    }
    this.#done('TLBIASID', bank, dropped);
  }

  /** TLBIVA: the entry of any size that covers the address; no entry is spared (R23). */
  address(bank: ContextBank, data: number): void {
    const { vmid } = bank;
    const asid = extract(data, TLBIVA.fields.ASID);
    let dropped = this.#tlb.dropCovering(data, vmid, asid, false);
    if (this.#config.readings.addressInvalidateGlobals === 'dropped') {
      dropped += this.#tlb.dropCovering(data, vmid, GLOBALS, false);
    }
    this.#done('TLBIVA', bank, dropped, data);
  }

  /** TLBIVAA: whatever the ASID. */
  addressAllAsids(bank: ContextBank, data: number): void {
    const { vmid } = bank;
    const dropped = this.#tlb.dropCovering(data, vmid, EVERY, bank.lock.sparesAtAddress);
    this.#done('TLBIVAA', bank, dropped, data);
  }

  #dropContext(bank: ContextBank, spares: boolean): number {
    const { vmid, asid } = bank;
    switch (this.#config.readings.contextInvalidateScope) {
      case 'vmid':
        return this.#tlb.dropAll(vmid, EVERY, spares);
      case 'bank':
        return this.#tlb.dropLoadedBy(bank.index, spares);
      case 'vmid-and-asid':
        return this.#tlb.dropAll(vmid, asid, spares) + this.#tlb.dropAll(vmid, GLOBALS, spares);
    }
  }

  #done(operation: string, bank: ContextBank | undefined, entries: number, data?: number): void {
    this.#buffer.clear();
    this.#statistics.invalidations++;
    this.#statistics.entriesDropped += entries;
    if (!this.#world.events.isObserved) return;
    this.#world.emit('smmu:invalidate', {
      iommu: this.#config.name,
      operation,
      bank: bank?.index ?? null,
      entries,
      ...(data === undefined ? {} : { iova: hex((data & 0xfffff000) >>> 0) }),
    });
  }
}
