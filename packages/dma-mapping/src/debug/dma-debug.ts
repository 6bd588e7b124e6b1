/**
 * A sanitizer for DMA: looks over the shoulder of drivers, and where it is let, of the CPU and the bus. The kernel's counterpart
 * is CONFIG_DMA_API_DEBUG (kernel/dma/debug.c), which sees the calls only. ERRORS.md has every kind of mistake with an example.
 *
 * What a driver does right costs it a record and a few lookups; everything that is wrong is reported, not only the first.
 */
import type { Device } from '@iommu-lab/driver-core';
import { type BusAccess, type BusPort, hex, LabError, type World } from '@iommu-lab/machine';
import type { DmaOps } from '../dma-ops.ts';
import type { CpuMemory, DmaChecker } from '../ports.ts';
import { CheckedOps } from './checked-ops.ts';
import { type DmaDebugOptions, DebugState } from './debug-state.ts';
import type { DmaErrorKind } from './error-kinds.ts';
import { describe, type DmaReport, type ReportedMapping } from './report.ts';
import { WatchedBus } from './watch-bus.ts';
import { WatchedMemory } from './watch-cpu.ts';

export type { DmaDebugOptions } from './debug-state.ts';
export { DMA_ERROR_KINDS, type DmaErrorKind, type ErrorKind } from './error-kinds.ts';
export { type AddressKind, type DeclaredKind, type KernelMap, KernelRegions } from './kernel-regions.ts';
export type { CallSite, MappingType } from './records.ts';
export type { DmaReport, ReportedMapping } from './report.ts';

export class DmaDebug implements DmaChecker {
  readonly #state: DebugState;

  constructor(world: World, options: DmaDebugOptions = {}) {
    this.#state = new DebugState(world, options);
  }

  /** Every mistake so far, oldest first. Each is also an event `dma:debug`. */
  get reports(): readonly DmaReport[] {
    return this.#state.book.reports;
  }

  reportsOf(kind: DmaErrorKind): readonly DmaReport[] {
    return this.reports.filter((report) => report.kind === kind);
  }

  /** Forgets the reports; what is mapped stays known. */
  clear(): void {
    this.#state.book.clear();
  }

  /** For tests of drivers. @throws LabError EFAULT with all that was found */
  expectNoReports(): void {
    const { reports } = this;
    if (reports.length === 0) return;
    const texts = reports.map(
      ({ kind, text, times }) => `[${kind}${times > 1 ? `, ${times} times` : ''}] ${text}`,
    );
    throw new LabError('EFAULT', `${reports.length} mistake(s) with DMA:\n${texts.join('\n')}`, {
      kinds: reports.map(({ kind }) => kind),
    });
  }

  /** What is mapped now, for all devices, oldest first of each (debugfs dma-api/dump). */
  liveMappings(): readonly (ReportedMapping & { readonly isErrorUnchecked: boolean })[] {
    return [...this.#state.devices.values()].flatMap(({ live }) =>
      [...live].map((record) => ({ ...describe(record), isErrorUnchecked: record.isErrorUnchecked })),
    );
  }

  /** False once the entries have run out: nothing is checked then. */
  get isOn(): boolean {
    return !this.#state.isOff;
  }

  /** Accesses of devices to what had been unmapped that the IOMMU still let through. */
  get staleAccesses(): number {
    return this.#state.staleAccesses;
  }

  /** Longest time between an unmap and such an access. */
  get longestStaleNs(): number {
    return this.#state.longestStaleNs;
  }

  /** The operations that a driver of `device` gets instead of `ops`. */
  wrap(device: Device, ops: DmaOps): DmaOps {
    return new CheckedOps(this.#state, this.#state.recordsFor(device, ops), ops);
  }

  /** The driver of `device` has gone: what it left behind is reported once, all of it (dma_debug_device_change). */
  released(device: Device): void {
    const records = this.#state.devices.get(device);
    if (records === undefined) return;
    const culprit = this.#state.here(`${device.name}: release`);
    const left = [...records.live].filter((record) => !record.isLeft && record.parts.type !== 'linked');
    if (left.length > 0) {
      const bytes = left.reduce((sum, { parts }) => sum + parts.sizeBytes, 0);
      this.#state.book.add({
        kind: 'left-at-release',
        device: device.name,
        what: `leaves ${left.length} mapping(s) of ${bytes} bytes: ${bySite(left.map(describe))}`,
        culprit,
        mapping: left[0],
        left: left.map(describe),
      });
    }
    for (const { reservation, made, pieces } of records.reservations) {
      const linked = pieces.overlapping(0, reservation.sizeBytes).map(({ record }) => describe(record));
      const where = `${reservation.sizeBytes} bytes at ${hex(reservation.address)}`;
      this.#state.book.add({
        kind: 'iova-left-at-release',
        device: device.name,
        what: `leaves a reservation of "${made.site}" (${where}) with ${linked.length} piece(s) linked`,
        culprit,
        iova: reservation.address,
        sizeBytes: reservation.sizeBytes,
        left: linked,
      });
    }
    for (const record of records.live) record.isLeft = true;
    records.reservations.clear();
  }

  /**
   * The CPU's memory for drivers and processes, so that loads and stores are seen. The DMA layer itself keeps the memory it
   * has: its maintenance, zeroing and copying are not the driver's.
   * @param site who loads and stores, for reports; `CPU 0` and so on unless given
   */
  watchCpu(memory: CpuMemory, site?: string): CpuMemory {
    return {
      cached: new WatchedMemory(this.#state, memory.cached, true, site),
      uncached: new WatchedMemory(this.#state, memory.uncached, false, site),
    };
  }

  /**
   * What a device's master is wired to instead of `port`, so that its accesses are seen, with the addresses it issues.
   * @param deviceOf whose access it is; undefined: nobody's that is checked (the device of a guest, or one whose driver maps
   * into a domain of its own)
   */
  watchBus(port: BusPort, deviceOf: (access: BusAccess) => Device | undefined): BusPort {
    return new WatchedBus(this.#state, port, deviceOf);
  }
}

/** `2 x "rot: frame", 1 x "rot: commands"`. */
function bySite(left: readonly ReportedMapping[]): string {
  const counts = new Map<string, number>();
  for (const { site } of left) counts.set(site, (counts.get(site) ?? 0) + 1);
  return [...counts].map(([site, count]) => `${count} x "${site}"`).join(', ');
}
