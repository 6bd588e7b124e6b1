/**
 * The two-step calls, checked (the kernel's checker does not look at them: include/linux/dma-mapping.h, dma_iova_link and
 * its relatives). A link that cannot be right is refused, since the driver is told so anyway; the other calls do what is left to do.
 */
import { hex, LabError, type PhysAddr } from '@iommu-lab/machine';
import type { DmaDirection, DmaOps, IovaReservation, MapOptions } from '../dma-ops.ts';
import { reportLostStores } from './check-sync.ts';
import type { DebugState } from './debug-state.ts';
import type { DmaErrorKind } from './error-kinds.ts';
import { Ownership } from './ownership.ts';
import {
  type CallSite,
  type DeviceRecords,
  type LinkedPiece,
  MappingRecord,
  ReservationRecord,
} from './records.ts';

export class TwoStepChecks {
  readonly #state: DebugState;
  readonly #records: DeviceRecords;
  readonly #inner: DmaOps;
  readonly #known = new WeakMap<IovaReservation, ReservationRecord>();

  constructor(state: DebugState, records: DeviceRecords, inner: DmaOps) {
    this.#state = state;
    this.#records = records;
    this.#inner = inner;
  }

  reserve(buffer: PhysAddr, sizeBytes: number, site: string | undefined): IovaReservation | undefined {
    const reservation = this.#inner.tryAllocIova(buffer, sizeBytes, site);
    if (reservation === undefined) return undefined;
    const reserved = new ReservationRecord(reservation, this.#here(site));
    this.#known.set(reservation, reserved);
    this.#records.reservations.add(reserved);
    return reservation;
  }

  /** @throws LabError EINVAL, EEXIST after a report; as the inner operations */
  link(
    reservation: IovaReservation,
    buffer: PhysAddr,
    offset: number,
    sizeBytes: number,
    direction: DmaDirection,
    options: MapOptions | undefined,
  ): void {
    const made = this.#here(options?.site);
    const reserved = this.#find(reservation, 'links memory into', made);
    if (reserved === undefined) throw this.#refusal('EINVAL', 'no reservation of this device (any more)');
    if (sizeBytes > 0 && offset >= 0) {
      const part = this.#inside(reserved, offset, sizeBytes, 'links', made);
      if (part.sizeBytes !== sizeBytes) throw this.#refusal('EINVAL', 'the piece leaves the reservation');
      const [there] = reserved.linkedIn(offset, offset + sizeBytes);
      if (there !== undefined) {
        const what = `links ${sizeBytes} bytes at offset ${offset}, where ${there.end - there.start} bytes are linked at ${there.start}`;
        this.#report('iova-link-over-linked', reserved, what, made, there.record);
        throw this.#refusal('EEXIST', 'something is linked there');
      }
    }
    this.#inner.linkIova(reservation, buffer, offset, sizeBytes, direction, options);
    const { visible } = reserved;
    visible.remove(offset, offset + sizeBytes);
    const record = new MappingRecord({
      device: this.#records.device,
      type: 'linked',
      direction,
      made,
      sizeBytes,
      segments: [
        { address: (reservation.address + offset) as IovaReservation['address'], length: sizeBytes },
      ],
      entries: [{ address: buffer, length: sizeBytes }],
      ownership: new Ownership(direction, sizeBytes, options?.skipCpuSync === true ? 'unknown' : 'device'),
      skipsCpuSync: options?.skipCpuSync ?? false,
      ignoresSharedLines: options?.ignoreSharedLines ?? false,
      isVisible: (start, end) => visible.firstOutside(offset + start, offset + end) === undefined,
    });
    reserved.pieces.add({ start: offset, end: offset + sizeBytes, record });
    this.#state.add(this.#records, record);
  }

  sync(reservation: IovaReservation, offset: number, sizeBytes: number, site: string | undefined): void {
    const here = this.#here(site);
    const reserved = this.#find(reservation, 'syncs', here);
    if (reserved === undefined) return;
    const part = this.#inside(reserved, offset, sizeBytes, 'syncs', here);
    if (part.sizeBytes === 0 && sizeBytes > 0) return;
    this.#inner.syncIova(reservation, part.offset, part.sizeBytes, site);
    reserved.visible.add(part.offset, part.offset + part.sizeBytes);
  }

  unlink(
    reservation: IovaReservation,
    offset: number,
    sizeBytes: number,
    direction: DmaDirection,
    options: MapOptions | undefined,
  ): void {
    const here = this.#here(options?.site);
    const reserved = this.#find(reservation, 'unlinks from', here);
    if (reserved === undefined) return;
    const part = this.#inside(reserved, offset, sizeBytes, 'unlinks', here);
    const end = part.offset + part.sizeBytes;
    const touched = reserved.linkedIn(part.offset, end);
    const whole = touched.filter((piece) => piece.start >= part.offset && piece.end <= end);
    let isRight = part.sizeBytes === sizeBytes;
    if (!isTiled(whole, part.offset, end)) {
      isRight = false;
      const what = `unlinks ${sizeBytes} bytes at offset ${offset}, of which ${bytesOf(whole)} in whole pieces are linked there`;
      this.#report('iova-unlink-not-linked', reserved, what, here, touched[0]?.record);
    }
    isRight = this.#hasDirection(reserved, whole, direction, 'unlinks', here) && isRight;
    this.#takeBack(reserved, whole, options, here, () => {
      if (!isRight) return false;
      this.#inner.unlinkIova(reservation, offset, sizeBytes, direction, options);
      return true;
    });
  }

  destroy(
    reservation: IovaReservation,
    linkedBytes: number,
    direction: DmaDirection,
    options: MapOptions | undefined,
  ): void {
    const here = this.#here(options?.site);
    const reserved = this.#find(reservation, 'destroys', here);
    if (reserved === undefined) return;
    const all = reserved.linkedIn(0, reservation.sizeBytes);
    let isRight = isTiled(all, 0, linkedBytes);
    if (!isRight) {
      const what = `destroys it with ${linkedBytes} bytes linked, which are ${bytesOf(all)} in ${all.length} piece(s)`;
      this.#report('iova-destroy-wrong-length', reserved, what, here, all.at(-1)?.record);
    }
    isRight = this.#hasDirection(reserved, all, direction, 'destroys', here) && isRight;
    this.#end(reserved, all, options, here, () => {
      if (!isRight) return false;
      this.#inner.destroyIova(reservation, linkedBytes, direction, options);
      return true;
    });
  }

  free(reservation: IovaReservation, site: string | undefined): void {
    const here = this.#here(site);
    const reserved = this.#find(reservation, 'frees', here);
    if (reserved === undefined) return;
    const all = reserved.linkedIn(0, reservation.sizeBytes);
    if (all.length > 0) {
      const what = `frees it with ${bytesOf(all)} bytes linked in ${all.length} piece(s)`;
      this.#report('iova-free-while-linked', reserved, what, here, all[0]?.record);
    }
    this.#end(reserved, all, site === undefined ? undefined : { site }, here, () => false);
  }

  #end(
    reserved: ReservationRecord,
    pieces: readonly LinkedPiece[],
    options: MapOptions | undefined,
    here: CallSite,
    asCalled: () => boolean,
  ): void {
    const isDone = this.#takeBack(reserved, pieces, options, here, asCalled);
    if (!isDone) this.#inner.freeIova(reserved.reservation, options?.site);
    reserved.gone = here;
    this.#records.reservations.delete(reserved);
  }

  /** Takes pieces back, by the driver's own call where that is right. @returns whether it was */
  #takeBack(
    { reservation, pieces: all, visible }: ReservationRecord,
    pieces: readonly LinkedPiece[],
    options: MapOptions | undefined,
    here: CallSite,
    asCalled: () => boolean,
  ): boolean {
    for (const { record } of pieces) {
      const lost = options?.skipCpuSync === true ? undefined : record.parts.ownership?.lostAtEnd();
      if (lost !== undefined) reportLostStores(this.#state, record, lost, here, 'takes the piece back');
    }
    const isDone = asCalled();
    for (const piece of pieces) {
      const { start, end, record } = piece;
      if (!isDone) this.#inner.unlinkIova(reservation, start, end - start, record.parts.direction, options);
      all.remove(piece);
      visible.remove(start, end);
      this.#state.remove(this.#records, record, here);
    }
    return isDone;
  }

  #hasDirection(
    reserved: ReservationRecord,
    pieces: readonly LinkedPiece[],
    direction: DmaDirection,
    verb: string,
    here: CallSite,
  ): boolean {
    const other = pieces.find(({ record }) => record.parts.direction !== direction);
    if (other === undefined) return true;
    const { parts } = other.record;
    const what = `${verb} ${direction} what was linked ${parts.direction} at offset ${other.start}`;
    this.#report('unmap-wrong-direction', reserved, what, here, other.record);
    return false;
  }

  /** The part of the range that lies in the reservation; reports one that does not. */
  #inside(
    reserved: ReservationRecord,
    offset: number,
    sizeBytes: number,
    verb: string,
    here: CallSite,
  ): { readonly offset: number; readonly sizeBytes: number } {
    const { sizeBytes: reservedBytes } = reserved.reservation;
    if (offset >= 0 && offset + sizeBytes <= reservedBytes) return { offset, sizeBytes };
    const what = `${verb} ${sizeBytes} bytes at offset ${offset} of a reservation of ${reservedBytes}`;
    this.#report('iova-outside', reserved, what, here, undefined);
    const start = Math.max(0, offset);
    return { offset: start, sizeBytes: Math.max(0, Math.min(offset + sizeBytes, reservedBytes) - start) };
  }

  #find(reservation: IovaReservation, verb: string, here: CallSite): ReservationRecord | undefined {
    const reserved = this.#known.get(reservation);
    if (reserved !== undefined && reserved.gone === undefined) return reserved;
    const { address, sizeBytes } = reservation;
    const gone = reserved?.gone;
    const whose =
      reserved === undefined || gone === undefined
        ? 'that this driver never made'
        : `of "${reserved.made.site}" that "${gone.site}" gave back at ${gone.atNs} ns`;
    this.#state.book.add({
      kind: 'iova-use-after-destroy',
      device: this.#records.device.name,
      what: `${verb} a reservation (${sizeBytes} bytes at ${hex(address)}) ${whose}`,
      culprit: here,
      iova: address,
      sizeBytes,
    });
    return undefined;
  }

  #report(
    kind: DmaErrorKind,
    { reservation, made }: ReservationRecord,
    what: string,
    culprit: CallSite,
    mapping: MappingRecord | undefined,
  ): void {
    this.#state.book.add({
      kind,
      device: this.#records.device.name,
      what: `${what}; the reservation is of "${made.site}" (${reservation.sizeBytes} bytes at ${hex(reservation.address)})`,
      culprit,
      mapping,
      iova: reservation.address,
      sizeBytes: reservation.sizeBytes,
    });
  }

  #refusal(code: 'EINVAL' | 'EEXIST', why: string): LabError {
    const { name } = this.#records.device;
    return new LabError(code, `${name}: ${why}`, { device: name });
  }

  #here(site: string | undefined): CallSite {
    return this.#state.here(site ?? this.#records.device.name);
  }
}

/** Whether the pieces are all of `[start, end)`, without a gap. */
function isTiled(pieces: readonly LinkedPiece[], start: number, end: number): boolean {
  let at = start;
  for (const piece of pieces) {
    if (piece.start !== at) return false;
    at = piece.end;
  }
  return at === end;
}

function bytesOf(pieces: readonly LinkedPiece[]): number {
  return pieces.reduce((sum, { start, end }) => sum + end - start, 0);
}
