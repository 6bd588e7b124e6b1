/**
 * A device's accesses, held against what is mapped for it, by the address that it issues. One that parks is looked at when it
 * parks if it leads nowhere, and otherwise when it is tried again.
 */
import type { Device } from '@iommu-lab/driver-core';
import { type AccessStatus, type BusAccess, type BusPort, hex, type Iova } from '@iommu-lab/machine';
import type { DebugState } from './debug-state.ts';
import type { DmaErrorKind } from './error-kinds.ts';
import type { ByteRange } from './byte-ranges.ts';
import type { DeviceRecords, IovaPiece, MappingRecord } from './records.ts';

/** What a device's master is wired to, with the checker looking on. */
export class WatchedBus implements BusPort {
  readonly #state: DebugState;
  readonly #port: BusPort;
  readonly #deviceOf: (access: BusAccess) => Device | undefined;

  constructor(state: DebugState, port: BusPort, deviceOf: (access: BusAccess) => Device | undefined) {
    this.#state = state;
    this.#port = port;
    this.#deviceOf = deviceOf;
  }

  access(access: BusAccess): AccessStatus {
    const outcome = this.#port.access(access);
    if (this.#state.isOff) return outcome;
    const device = this.#deviceOf(access);
    const records = device === undefined ? undefined : this.#state.devices.get(device);
    if (records !== undefined) new AccessCheck(this.#state, records, access, outcome).run();
    return outcome;
  }
}

/** One access. */
class AccessCheck {
  readonly #state: DebugState;
  readonly #records: DeviceRecords;
  readonly #access: BusAccess;
  readonly #outcome: AccessStatus;

  constructor(state: DebugState, records: DeviceRecords, access: BusAccess, outcome: AccessStatus) {
    this.#state = state;
    this.#records = records;
    this.#access = access;
    this.#outcome = outcome;
  }

  run(): void {
    const { address, length } = this.#access;
    const end = address + length;
    const pieces = this.#records.overlapping(address, end);
    for (let at = address; at < end;) {
      const here = pieces.filter((piece) => piece.start <= at && at < piece.end);
      let next = end;
      for (const { start, end: last } of pieces) {
        if (start > at) next = Math.min(next, start);
        if (last > at) next = Math.min(next, last);
      }
      if (here.length === 0) this.#unmapped(at, next);
      else this.#mapped(here, at, next);
      at = next;
    }
  }

  /** Of several mappings of the same bytes it is enough that one allows the access. */
  #mapped(here: readonly IovaPiece[], at: number, next: number): void {
    const problems = here.map((piece) => this.#problem(piece, at, next));
    const [problem] = problems;
    const [piece] = here as readonly [IovaPiece];
    if (problem !== undefined && !problems.includes(undefined)) {
      this.#report(problem.kind, piece.record, problem.what, at, next);
    }
    if (this.#outcome !== 'done') return;
    for (const { record, offset, start } of here) {
      const { ownership } = record.parts;
      ownership?.forgetStores(offset + at - start, offset + next - start);
      if (this.#access.isWrite && record.isDeviceWritten)
        ownership?.deviceWrote(offset + at - start, offset + next - start);
    }
  }

  #problem(
    { record, offset, start }: IovaPiece,
    at: number,
    next: number,
  ): { readonly kind: DmaErrorKind; readonly what: string } | undefined {
    const { direction, ownership, isVisible } = record.parts;
    const range: ByteRange = { start: offset + at - start, end: offset + next - start };
    if (isVisible?.(range.start, range.end) === false) {
      return { kind: 'iova-access-before-sync', what: 'linked there and not synced yet' };
    }
    if (this.#access.isWrite && direction === 'to-device') {
      return { kind: 'device-wrote-to-device-only', what: 'mapped for it to read' };
    }
    if (!this.#access.isWrite && direction === 'from-device') {
      return { kind: 'device-read-of-from-device', what: 'mapped for it to write' };
    }
    const stored = this.#outcome === 'done' ? ownership?.unsyncedIn(range.start, range.end) : undefined;
    if (stored === undefined) return undefined;
    const what = `with ${stored.end - stored.start} bytes at offset ${stored.start} that the CPU stored and did not sync for the device`;
    return { kind: 'missing-sync-for-device', what };
  }

  #unmapped(at: number, next: number): void {
    if (this.#isReserved(at, next)) return;
    const { isWrite } = this.#access;
    const before = this.#runsOutOf(at);
    if (before !== undefined) {
      const what = `right behind the mapping, which it ${isWrite ? 'was writing' : 'was reading'}`;
      this.#report('device-access-out-of-mapping', before, what, at, next);
      return;
    }
    const last = this.#records.lastUnmappedAt(at);
    if (last?.unmapped === undefined) {
      this.#report('device-access-never-mapped', undefined, 'where nothing was mapped for it', at, next);
      return;
    }
    const age = this.#state.world.clock.now - last.unmapped.atNs;
    if (this.#outcome === 'done' && this.#records.ops.isStale(at as Iova)) {
      this.#state.staleAccesses++;
      this.#state.longestStaleNs = Math.max(this.#state.longestStaleNs, age);
      const what = `unmapped ${age} ns ago and not flushed yet`;
      this.#report('access-in-lazy-window', last, what, at, next);
      return;
    }
    const isCoherent = last.parts.type === 'coherent';
    const kind = isCoherent ? 'device-use-of-freed-coherent' : 'device-use-after-unmap';
    this.#report(kind, last, `${isCoherent ? 'freed' : 'unmapped'} ${age} ns ago`, at, next);
  }

  /** The mapping that this access, or the transfer it is part of, has just left. */
  #runsOutOf(at: number): MappingRecord | undefined {
    const { address, offset } = this.#access;
    if (at === address && offset === 0) return undefined;
    return this.#records.overlapping(at - 1, at)[0]?.record;
  }

  /** Firmware's own use of addresses, which no driver maps. */
  #isReserved(at: number, next: number): boolean {
    return this.#records.device.reservedRegions.some(
      ({ iova, sizeBytes }) => iova <= at && next <= iova + sizeBytes,
    );
  }

  #report(
    kind: DmaErrorKind,
    mapping: MappingRecord | undefined,
    what: string,
    at: number,
    next: number,
  ): void {
    const { isWrite, masterName } = this.#access;
    const ended = { done: 'it went through', faulted: 'it was blocked', parked: 'it is stalled' };
    this.#state.book.addAccess({
      kind,
      device: this.#records.device.name,
      what: `${isWrite ? 'writes' : 'reads'} ${next - at} bytes at ${hex(at)}, ${what}; ${ended[this.#outcome]}`,
      culprit: this.#state.here(masterName),
      mapping,
      storedBy: kind === 'missing-sync-for-device' ? mapping?.parts.ownership?.firstStore : undefined,
      iova: at,
      sizeBytes: next - at,
      outcome: this.#outcome,
    });
  }
}
