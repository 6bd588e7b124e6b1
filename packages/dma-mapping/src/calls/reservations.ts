/**
 * The two-step calls: IOVA space is reserved first and filled piece by piece, so that a driver that knows its sizes early pays
 * for the space once (include/linux/dma-mapping.h, dma_iova_try_alloc; drivers/iommu/dma-iommu.c).
 *
 * Unlinking is strict, also where invalidation is deferred: the IOVA stays with its owner, who may link it again at once.
 */
import { alignUp, hex, isLabError, LabError, offsetBy, type PhysAddr } from '@iommu-lab/machine';
import { checkPiece, checkSize } from './check-arguments.ts';
import type { DeviceMappings } from './device-mappings.ts';
import type { DmaDirection, IovaReservation, MapOptions } from '../dma-ops.ts';
import type { LiveMapping } from './live-mappings.ts';
import type { IovaReservations } from '../paths/path.ts';

interface Reserved {
  readonly wholeBytes: number;
  /** Part of it may still be reached, though nothing is linked: its IOVAs are never given back. */
  isQuarantined: boolean;
  /** What is linked, by offset in the reservation. */
  readonly links: Map<number, LiveMapping>;
}

export class Reservations {
  readonly #mappings: DeviceMappings;
  readonly #live = new Map<IovaReservation, Reserved>();

  constructor(mappings: DeviceMappings) {
    this.#mappings = mappings;
  }

  /** Bytes that are reserved, whether linked or not. */
  get reservedBytes(): number {
    let bytes = 0;
    for (const { sizeBytes } of this.#live.keys()) bytes += sizeBytes;
    return bytes;
  }

  tryAllocate(buffer: PhysAddr, sizeBytes: number, site: string | undefined): IovaReservation | undefined {
    const { device, path } = this.#mappings;
    const { reservations } = path;
    if (reservations === undefined || sizeBytes === 0) return undefined;
    checkPiece(device, { address: buffer, length: sizeBytes });
    const inGranule = buffer % reservations.granule;
    const wholeBytes = alignUp(inGranule + sizeBytes, reservations.granule);
    try {
      const start = reservations.reserve(wholeBytes, device.dmaMask, site ?? device.name);
      const reservation = { address: offsetBy(start, inGranule), sizeBytes };
      this.#live.set(reservation, { wholeBytes, links: new Map(), isQuarantined: false });
      return reservation;
    } catch (error) {
      if (isLabError(error, 'ENOSPC')) return undefined;
      throw error;
    }
  }

  link(
    reservation: IovaReservation,
    buffer: PhysAddr,
    offset: number,
    sizeBytes: number,
    direction: DmaDirection,
    options: MapOptions | undefined,
  ): void {
    const { links } = this.#find(reservation);
    const entry = { address: buffer, length: sizeBytes };
    checkPiece(this.#mappings.device, entry);
    this.checkPart(reservation, offset, sizeBytes);
    const { granule } = this.#port;
    const iova = offsetBy(reservation.address, offset);
    if (offset > 0 && buffer % granule !== 0) {
      throw this.#refusal('EIO', `${hex(buffer)} does not begin a granule`, reservation);
    }
    if (buffer % granule !== iova % granule) {
      throw this.#refusal(
        'EINVAL',
        `${hex(buffer)} does not lie in its granule as the IOVA ${hex(iova)} does`,
        reservation,
      );
    }
    const attributes = { kind: 'linked' as const, direction, options };
    const mapped = this.#port.link(iova, entry, this.#mappings.requestFor(attributes));
    links.set(offset, this.#mappings.record(mapped, [entry], attributes));
  }

  /** What is linked in the range: all of it was. @throws LabError EINVAL */
  #linked(reservation: IovaReservation, offset: number, sizeBytes: number): readonly LiveMapping[] {
    const { links } = this.#find(reservation);
    this.checkPart(reservation, offset, sizeBytes);
    const found: LiveMapping[] = [];
    for (let at = offset; at < offset + sizeBytes;) {
      const link = links.get(at);
      if (link === undefined || at + link.sizeBytes > offset + sizeBytes) {
        throw this.#refusal('EINVAL', `${offset} + ${sizeBytes} is not what was linked there`, reservation);
      }
      found.push(link);
      at += link.sizeBytes;
    }
    return found;
  }

  unlink(
    reservation: IovaReservation,
    offset: number,
    sizeBytes: number,
    direction: DmaDirection,
    options: MapOptions | undefined,
  ): void {
    const found = this.#linked(reservation, offset, sizeBytes);
    for (const link of found) {
      if (link.direction === direction) continue;
      throw this.#refusal(
        'EINVAL',
        `"${link.site}" linked it ${link.direction}, not ${direction}`,
        reservation,
      );
    }
    const reserved = this.#find(reservation);
    const { links } = reserved;
    let at = offset;
    for (const link of found) {
      if (!this.#port.unlink(link, options?.site ?? link.site)) reserved.isQuarantined = true;
      this.#mappings.unrecord(link, options);
      links.delete(at);
      at += link.sizeBytes;
    }
  }

  destroy(
    reservation: IovaReservation,
    linkedBytes: number,
    direction: DmaDirection,
    options: MapOptions | undefined,
  ): void {
    const { links } = this.#find(reservation);
    let all = 0;
    for (const { sizeBytes } of links.values()) all += sizeBytes;
    if (all !== linkedBytes) {
      throw this.#refusal('EINVAL', `${all} bytes are linked, not ${linkedBytes}`, reservation);
    }
    if (linkedBytes > 0) this.unlink(reservation, 0, linkedBytes, direction, options);
    this.free(reservation);
  }

  free(reservation: IovaReservation): void {
    const { links, wholeBytes, isQuarantined } = this.#find(reservation);
    if (links.size > 0) throw this.#refusal('EINVAL', 'something is linked', reservation);
    this.#live.delete(reservation);
    if (isQuarantined) return;
    const { granule } = this.#port;
    this.#port.release(offsetBy(reservation.address, -(reservation.address % granule)), wholeBytes);
  }

  get #port(): IovaReservations {
    const { device, path } = this.#mappings;
    if (path.reservations === undefined) {
      throw new LabError('EINVAL', `${device.name}: there is no IOVA space to reserve`, {
        device: device.name,
      });
    }
    return path.reservations;
  }

  #find(reservation: IovaReservation): Reserved {
    const found = this.#live.get(reservation);
    if (found === undefined)
      throw this.#refusal('EINVAL', 'not a reservation of this device (any more)', reservation);
    return found;
  }

  /** @throws LabError EINVAL unless it is a part of a live reservation */
  checkPart(reservation: IovaReservation, offset: number, sizeBytes: number): void {
    this.#find(reservation);
    checkSize(this.#mappings.device, sizeBytes);
    const isOffset = Number.isSafeInteger(offset) && offset >= 0;
    if (isOffset && offset + sizeBytes <= reservation.sizeBytes) return;
    throw this.#refusal('EINVAL', `${offset} + ${sizeBytes} leaves the reservation`, reservation);
  }

  #refusal(code: 'EINVAL' | 'EIO', why: string, { address }: IovaReservation): LabError {
    const { name } = this.#mappings.device;
    return new LabError(code, `${name}: ${why}`, { device: name, address });
  }
}
