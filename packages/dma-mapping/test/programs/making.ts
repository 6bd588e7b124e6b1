/** How buffers of each form are made, synced and given back: one caller for each call of the API. */
import { type PhysAddr, physAddr } from '@iommu-lab/machine';
import type { DmaDirection, DmaOps, DmaSegment, MapOptions, SgEntry, SgTable } from '../../src/index.ts';
import type { Handle, Piece } from './buffer.ts';
import type { AllocForm, MapForm } from './steps.ts';

const PAGE = 4096;

export interface Mapping {
  readonly form: MapForm;
  readonly entries: readonly SgEntry[];
  readonly direction: DmaDirection;
  readonly options: MapOptions;
}

/** @throws LabError as the map call */
export function makeMapping(dma: DmaOps, { form, entries, direction, options }: Mapping): Handle {
  const isOwnSync = options.skipCpuSync === true;
  const [first] = entries as readonly [SgEntry];
  if (form === 'table') {
    const table: SgTable = { entries, segments: [] };
    dma.mapSgTable(table, direction, options);
    return {
      segments: table.segments,
      sync: (to) =>
        to === 'cpu' ? dma.syncSgTableForCpu(table, direction) : dma.syncSgTableForDevice(table, direction),
      release: () => dma.unmapSgTable(table, direction, options),
      isOwnSync,
    };
  }
  if (form === 'sg') {
    const segments = dma.mapSg(entries, direction, options);
    return {
      segments,
      sync: (to) =>
        to === 'cpu' ? dma.syncSgForCpu(segments, direction) : dma.syncSgForDevice(segments, direction),
      release: () => dma.unmapSg(segments, direction, options),
      isOwnSync,
    };
  }
  const { address: memory, length } = first;
  const inPage = memory % PAGE;
  const address =
    form === 'single'
      ? dma.mapSingle(memory, length, direction, options)
      : dma.mapPage(physAddr(memory - inPage), inPage, length, direction, options);
  if (options.errorAsValue === true && dma.mappingError(address)) throw new Error('a map call said no');
  return {
    segments: [{ address, length }],
    sync: (to) =>
      to === 'cpu'
        ? dma.syncSingleForCpu(address, length, direction)
        : dma.syncSingleForDevice(address, length, direction),
    release: () =>
      form === 'single'
        ? dma.unmapSingle(address, length, direction, options)
        : dma.unmapPage(address, length, direction, options),
    isOwnSync,
  };
}

/** Entries one behind the other in IOVA space; each by itself where there is none. */
export function makeReserved(dma: DmaOps, entries: readonly SgEntry[], direction: DmaDirection): Handle {
  const size = entries.reduce((sum, { length }) => sum + length, 0);
  const [first] = entries as readonly [SgEntry];
  const reservation = dma.tryAllocIova(first.address, size);
  const segments: DmaSegment[] = [];
  let offset = 0;
  const offsets: number[] = [];
  for (const { address, length } of entries) {
    offsets.push(offset);
    if (reservation === undefined) {
      segments.push({ address: dma.mapSingle(address, length, direction), length });
    } else {
      dma.linkIova(reservation, address, offset, length, direction);
      segments.push({ address: (reservation.address + offset) as DmaSegment['address'], length });
    }
    offset += length;
  }
  if (reservation !== undefined) dma.syncIova(reservation, 0, size);
  return {
    segments,
    sync(to) {
      for (const { address, length } of segments) {
        if (to === 'cpu') dma.syncSingleForCpu(address, length, direction);
        else dma.syncSingleForDevice(address, length, direction);
      }
    },
    release(how) {
      if (reservation === undefined) {
        for (const { address, length } of segments) dma.unmapSingle(address, length, direction);
        return;
      }
      if (how === 'whole') {
        dma.destroyIova(reservation, size, direction);
        return;
      }
      if (how === 'two-calls') dma.unlinkIova(reservation, 0, size, direction);
      else {
        entries.forEach(({ length }, i) =>
          dma.unlinkIova(reservation, offsets[i] as number, length, direction),
        );
      }
      if (how === 'two-calls') dma.freeIova(reservation);
      else dma.destroyIova(reservation, 0, direction);
    },
    isOwnSync: false,
  };
}

export interface Allocated {
  readonly handle: Handle;
  readonly pieces: readonly Piece[];
  readonly direction: DmaDirection;
}

/** @throws LabError as the call */
export function makeAllocation(
  dma: DmaOps,
  form: Exclude<AllocForm, 'block'>,
  length: number,
  direction: DmaDirection,
  isContiguous: boolean,
): Allocated {
  const options = isContiguous ? { forceContiguous: true } : {};
  if (form === 'coherent') {
    const buffer = dma.allocCoherent(length, options);
    const handle: Handle = {
      segments: [{ address: buffer.dmaAddress, length }],
      sync: () => undefined,
      release: () => dma.freeCoherent(buffer),
      view: {
        read(at, size) {
          const bytes = new Uint8Array(size);
          buffer.read(at, bytes);
          return bytes;
        },
        write: (at, bytes) => buffer.write(at, bytes),
      },
      isOwnSync: false,
    };
    return { handle, pieces: dma.getSgTable(buffer).entries, direction: 'bidirectional' };
  }
  if (form === 'noncoherent') {
    const buffer = dma.allocNoncoherent(length, direction, options);
    const handle: Handle = {
      segments: [{ address: buffer.dmaAddress, length }],
      sync: (to) =>
        to === 'cpu'
          ? dma.syncSingleForCpu(buffer.dmaAddress, length, direction)
          : dma.syncSingleForDevice(buffer.dmaAddress, length, direction),
      release: () => dma.freeNoncoherent(buffer),
      isOwnSync: false,
    };
    return { handle, pieces: [{ address: buffer.address, length }], direction };
  }
  const buffer = dma.allocNoncontiguous(length, direction, options);
  const handle: Handle = {
    segments: [{ address: buffer.dmaAddress, length }],
    sync: (to) =>
      to === 'cpu'
        ? dma.syncSgTableForCpu(buffer.table, direction)
        : dma.syncSgTableForDevice(buffer.table, direction),
    release: () => dma.freeNoncontiguous(buffer),
    isOwnSync: false,
  };
  return { handle, pieces: buffer.table.entries, direction };
}

export function entriesOf(
  base: PhysAddr,
  places: readonly { readonly at: number; readonly length: number }[],
): readonly SgEntry[] {
  return places.map(({ at, length }) => ({ address: physAddr(base + at), length }));
}
