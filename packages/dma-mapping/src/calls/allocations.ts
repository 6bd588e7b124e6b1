/**
 * Memory that is allocated for DMA: coherent, cached and contiguous in memory, cached and scattered. Each is recorded as the
 * mapping it has for the device; what a process maps of it is only looked at before it is freed.
 */
import { alignUp, isAligned, LabError, type MemoryPort, offsetBy, type VirtAddr } from '@iommu-lab/machine';
import type { PhysicalPiece, Process } from '@iommu-lab/kernel-mm';
import { checkSize } from './check-arguments.ts';
import { CoherentView, prepareFrames, retireFrames } from './coherent.ts';
import type { DeviceMappings } from './device-mappings.ts';
import type {
  AllocOptions,
  CoherentBuffer,
  DmaBuffer,
  DmaDirection,
  DmaSegment,
  NoncoherentBuffer,
  NoncontiguousBuffer,
  SgEntry,
  SgTable,
} from '../dma-ops.ts';
import type { LiveMapping, MappingKind } from './live-mappings.ts';
import type { DmaWiring } from '../ports.ts';

const PAGE_BYTES = 4096;

type AllocationKind = Extract<MappingKind, 'coherent' | 'noncoherent' | 'noncontiguous'>;

interface Allocation {
  readonly mapping: LiveMapping;
  /** Its memory, whole pages. */
  readonly memory: readonly SgEntry[];
  /** Processes that have mapped some of it. */
  readonly users: Set<Process>;
}

export class Allocations {
  readonly #mappings: DeviceMappings;
  readonly #wiring: DmaWiring;
  readonly #live = new Map<DmaBuffer, Allocation>();

  constructor(mappings: DeviceMappings, wiring: DmaWiring) {
    this.#mappings = mappings;
    this.#wiring = wiring;
  }

  allocCoherent(sizeBytes: number, options: AllocOptions | undefined): CoherentBuffer {
    const view = this.#view;
    const allocation = this.#allocate('coherent', sizeBytes, 'bidirectional', options, view);
    const buffer = new CoherentView(options?.noKernelMapping === true ? undefined : view, allocation.mapping);
    this.#live.set(buffer, allocation);
    return buffer;
  }

  allocNoncoherent(
    sizeBytes: number,
    direction: DmaDirection,
    options: AllocOptions | undefined,
  ): NoncoherentBuffer {
    const contiguous = { ...options, forceContiguous: true };
    const allocation = this.#allocate('noncoherent', sizeBytes, direction, contiguous, this.#cached);
    const [memory] = allocation.memory as readonly [SgEntry];
    const buffer = { ...deviceSide(allocation.mapping), direction, address: memory.address };
    this.#live.set(buffer, allocation);
    return buffer;
  }

  allocNoncontiguous(
    sizeBytes: number,
    direction: DmaDirection,
    options: AllocOptions | undefined,
  ): NoncontiguousBuffer {
    const allocation = this.#allocate('noncontiguous', sizeBytes, direction, options, this.#cached);
    const { mapping, memory } = allocation;
    const table = { entries: memory, segments: mapping.segments };
    const buffer = { ...deviceSide(mapping), direction, table };
    this.#live.set(buffer, allocation);
    return buffer;
  }

  /** The mapping of a buffer that is about to be freed. @throws LabError EINVAL, EBUSY as `DmaOps.freeCoherent` */
  mappingOf(kind: AllocationKind, buffer: DmaBuffer): LiveMapping {
    const { mapping, memory, users } = this.#find(buffer);
    if (mapping.kind !== kind) {
      throw this.#refusal(
        'EINVAL',
        `"${mapping.site}" allocated it as ${mapping.kind}, not as ${kind}`,
        buffer,
      );
    }
    for (const process of users) {
      if (process.mapsFrames(memory)) throw this.#refusal('EBUSY', `${process.name} has it mapped`, buffer);
      users.delete(process);
    }
    return mapping;
  }

  /** Frees a buffer that `mappingOf` has found free to go. */
  free(buffer: DmaBuffer, options: AllocOptions | undefined): void {
    const { mapping, memory } = this.#find(buffer);
    this.#live.delete(buffer);
    if (buffer instanceof CoherentView) buffer.revoke();
    if (mapping.kind === 'coherent') {
      this.#mappings.path.unmap(mapping, options?.site ?? mapping.site);
      this.#mappings.live.remove(mapping);
    } else {
      this.#mappings.takeBack(mapping, options);
    }
    this.#freeFrames(memory);
  }

  mmap(process: Process, buffer: DmaBuffer, offset: number, sizeBytes: number): VirtAddr {
    const { mapping, memory, users } = this.#find(buffer);
    const whole = alignUp(mapping.sizeBytes, PAGE_BYTES);
    const isWhole =
      isAligned(offset, PAGE_BYTES) && offset >= 0 && Number.isSafeInteger(sizeBytes) && sizeBytes > 0;
    const length = alignUp(sizeBytes, PAGE_BYTES);
    if (!isWhole || offset + length > whole) {
      throw this.#refusal('ENXIO', `${offset} + ${sizeBytes} is not a part of it in whole pages`, buffer);
    }
    const uncached = mapping.kind === 'coherent' && !this.#mappings.device.isDmaCoherent;
    const address = process.mmapFrames(part(memory, offset, length), { uncached });
    users.add(process);
    return address;
  }

  getSgTable(buffer: DmaBuffer): SgTable {
    return { entries: [...this.#find(buffer).memory], segments: [] };
  }

  /** The CPU's view of coherent memory. */
  get #view(): MemoryPort {
    const { cached, uncached } = this.#wiring.memory;
    return this.#mappings.device.isDmaCoherent ? cached : uncached;
  }

  get #cached(): MemoryPort {
    return this.#wiring.memory.cached;
  }

  #allocate(
    kind: AllocationKind,
    sizeBytes: number,
    direction: DmaDirection,
    options: AllocOptions | undefined,
    view: MemoryPort,
  ): Allocation {
    const { device, path, world } = this.#mappings;
    checkSize(device, sizeBytes);
    const attributes = { kind, direction, options };
    const request = this.#mappings.requestFor(attributes);
    if (world.fail('dma-mapping.allocation')) {
      throw new LabError('ENOMEM', `${device.name}: no ${kind} memory (failpoint)`, { sizeBytes });
    }
    const memory = path.allocateMemory(sizeBytes, request.mask, options?.forceContiguous === true);
    try {
      prepareFrames(view, this.#maintenance, memory);
      // The buffer ends where it was asked to, whatever whole pages are behind it.
      const whole = path.map(memory, request);
      const [segment] = whole.segments as readonly [DmaSegment];
      const mapped = { ...whole, segments: [{ address: segment.address, length: sizeBytes }] };
      const asked = [{ address: memory[0]?.address as SgEntry['address'], length: sizeBytes }];
      // Nothing is handed over: coherent memory belongs to both, other memory to the CPU until it is synced.
      const recorded = { ...attributes, options: { ...options, skipCpuSync: true } };
      return { mapping: this.#mappings.record(mapped, asked, recorded), memory, users: new Set() };
    } catch (error) {
      this.#freeFrames(memory);
      throw error;
    }
  }

  get #maintenance(): DmaWiring['maintenance'] {
    return this.#mappings.device.isDmaCoherent ? undefined : this.#wiring.maintenance;
  }

  #freeFrames(memory: readonly SgEntry[]): void {
    retireFrames(this.#maintenance, memory);
    this.#mappings.path.freeMemory(memory);
  }

  #find(buffer: DmaBuffer): Allocation {
    const found = this.#live.get(buffer);
    if (found === undefined) throw this.#refusal('EINVAL', 'not a buffer of this device (any more)', buffer);
    return found;
  }

  #refusal(code: 'EINVAL' | 'EBUSY' | 'ENXIO', why: string, { dmaAddress }: DmaBuffer): LabError {
    const { name } = this.#mappings.device;
    return new LabError(code, `${name}: ${why}`, { device: name, address: dmaAddress });
  }
}

function deviceSide({ segments, sizeBytes }: LiveMapping): DmaBuffer {
  const [first] = segments as readonly [LiveMapping['segments'][number]];
  return { dmaAddress: first.address, sizeBytes };
}

/** The memory under a part of a buffer. */
function part(memory: readonly SgEntry[], offset: number, sizeBytes: number): readonly PhysicalPiece[] {
  const pieces: PhysicalPiece[] = [];
  let at = 0;
  for (const { address, length } of memory) {
    const from = Math.max(offset, at);
    const end = Math.min(offset + sizeBytes, at + length);
    if (end > from) pieces.push({ address: offsetBy(address, from - at), length: end - from });
    at += length;
  }
  return pieces;
}
