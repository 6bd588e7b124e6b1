/** What the checker says: one report for each mistake, explained, with both sites; each is also an event `dma:debug`. */
import { type AccessStatus, type EventValue, hex, type World } from '@iommu-lab/machine';
import type { DmaDirection } from '../dma-ops.ts';
import { DMA_ERROR_KINDS, type DmaErrorKind } from './error-kinds.ts';
import type { CallSite, MappingRecord, MappingType } from './records.ts';

/** A mapping as reports and dumps show it. */
export interface ReportedMapping extends CallSite {
  readonly device: string;
  readonly type: MappingType;
  readonly direction: DmaDirection;
  /** First IOVA. */
  readonly address: number;
  readonly sizeBytes: number;
  /** First byte of its memory, where it is known. */
  readonly memory: number | undefined;
}

export interface DmaReport {
  readonly kind: DmaErrorKind;
  /** Class of the kernel's checker; undefined: beyond it. */
  readonly kernelClass: number | undefined;
  readonly device: string;
  /** What, where, whose, and what to do. */
  readonly text: string;
  /** The mapping it is about. */
  readonly mapping?: ReportedMapping;
  /** Another one that it collides with. */
  readonly other?: ReportedMapping;
  /** Who did wrong. */
  readonly culprit: CallSite;
  /** Who had unmapped it. */
  readonly unmappedBy?: CallSite;
  /** Who had stored the bytes that are missing or lost, first of all. */
  readonly storedBy?: CallSite;
  /** Where, as the device addresses it. */
  readonly iova?: number;
  /** Where, in memory. */
  readonly address?: number;
  readonly sizeBytes?: number;
  /** How the device's access ended. */
  readonly outcome?: AccessStatus;
  /** Everything that was left, by a driver that is gone. */
  readonly left?: readonly ReportedMapping[];
  /** How often an access did the same wrong from the same site to the same mapping; calls are reported one by one. */
  readonly times: number;
}

/** A mistake, found. */
export interface Finding {
  readonly kind: DmaErrorKind;
  readonly device: string;
  /** What the culprit does: a verb in the third person and the rest, without the full stop. */
  readonly what: string;
  readonly culprit: CallSite;
  readonly mapping?: MappingRecord | undefined;
  readonly other?: MappingRecord | undefined;
  readonly storedBy?: CallSite | undefined;
  readonly iova?: number;
  readonly address?: number;
  readonly sizeBytes?: number;
  readonly outcome?: AccessStatus;
  readonly left?: readonly ReportedMapping[];
}

type KeptReport = DmaReport & { times: number };

export class ReportBook {
  readonly #world: World;
  #reports: KeptReport[] = [];
  #repeats = new Map<string, KeptReport>();
  readonly #recordIds = new WeakMap<MappingRecord, number>();
  #nextId = 1;

  constructor(world: World) {
    this.#world = world;
  }

  get reports(): readonly DmaReport[] {
    return this.#reports;
  }

  add(finding: Finding): void {
    this.#keep(finding);
  }

  /**
   * The same for loads, stores and accesses of devices, of which one mistake makes many: those of one kind from one site to
   * one mapping (or, where there is none, page) are counted in one report.
   */
  addAccess(finding: Finding): void {
    const key = `${finding.kind}|${finding.device}|${finding.culprit.site}|${this.#placeOf(finding)}`;
    const before = this.#repeats.get(key);
    if (before === undefined) this.#repeats.set(key, this.#keep(finding));
    else before.times++;
  }

  clear(): void {
    this.#reports = [];
    this.#repeats = new Map();
  }

  #placeOf({ mapping, iova, address }: Finding): string {
    if (mapping === undefined) return `page ${Math.floor((iova ?? address ?? 0) / 4096)}`;
    let id = this.#recordIds.get(mapping);
    if (id === undefined) {
      id = this.#nextId++;
      this.#recordIds.set(mapping, id);
    }
    return `mapping ${id}`;
  }

  #keep(finding: Finding): KeptReport {
    const { what: _what, mapping, other, storedBy, ...plain } = finding;
    const report: KeptReport = {
      ...plain,
      kernelClass: DMA_ERROR_KINDS[finding.kind].kernelClass,
      text: textOf(finding),
      ...(mapping && { mapping: describe(mapping) }),
      ...(other && { other: describe(other) }),
      ...(storedBy && { storedBy }),
      ...(mapping?.unmapped && mapping.unmapped !== finding.culprit && { unmappedBy: mapping.unmapped }),
      times: 1,
    };
    this.#reports.push(report);
    if (this.#world.events.isObserved) this.#world.emit('dma:debug', eventFields(report));
    return report;
  }
}

/** A record as plain data. */
export function describe({ parts, address }: MappingRecord): ReportedMapping {
  const { device, type, direction, sizeBytes, made, entries } = parts;
  return {
    ...made,
    device: device.name,
    type,
    direction,
    address,
    sizeBytes,
    memory: entries[0]?.address,
  };
}

/** What was done to make a mapping of that type. */
function verbOf(type: MappingType): string {
  if (type === 'linked') return 'The piece was linked';
  return type.endsWith('coherent') || type === 'noncontiguous'
    ? 'The memory was allocated'
    : 'The buffer was mapped';
}

function makerText(record: MappingRecord): string {
  const { device, made } = record.parts;
  return `by "${made.site}" for ${device.name} at ${made.atNs} ns (${shapeText(record)})`;
}

function shapeText({ parts, address }: MappingRecord): string {
  const { type, direction, sizeBytes, entries } = parts;
  const memory = entries[0] === undefined ? '' : `, memory ${hex(entries[0].address)}`;
  return `${type}, ${direction}, ${sizeBytes} bytes at ${hex(address)}${memory}`;
}

function textOf({ kind, device, what, culprit, mapping, other, storedBy }: Finding): string {
  const sentences = [`${device}: "${culprit.site}" at ${culprit.atNs} ns ${what}`];
  if (storedBy !== undefined) sentences.push(`"${storedBy.site}" stored there first at ${storedBy.atNs} ns`);
  if (mapping?.parts.made === culprit) sentences.push(`The mapping: ${shapeText(mapping)}`);
  else if (mapping !== undefined) sentences.push(`${verbOf(mapping.parts.type)} ${makerText(mapping)}`);
  const unmapped = mapping?.unmapped;
  if (unmapped !== undefined && unmapped !== culprit) {
    sentences.push(`"${unmapped.site}" had taken it back at ${unmapped.atNs} ns`);
  }
  if (other !== undefined) sentences.push(`The other was mapped ${makerText(other)}`);
  return `${sentences.join('. ')}. ${DMA_ERROR_KINDS[kind].remedy}`;
}

/** No stacks: they differ between machines, and the log repeats. */
function eventFields(report: DmaReport): Record<string, EventValue> {
  const {
    kind,
    kernelClass,
    device,
    culprit,
    mapping,
    other,
    unmappedBy,
    storedBy,
    iova,
    address,
    sizeBytes,
    outcome,
  } = report;
  return {
    kind,
    ...(kernelClass !== undefined && { class: kernelClass }),
    device,
    site: culprit.site,
    ...(mapping && { mapped_by: mapping.site }),
    ...(unmappedBy && { unmapped_by: unmappedBy.site }),
    ...(other && { other: other.site }),
    ...(storedBy && { stored_by: storedBy.site }),
    ...(iova !== undefined && { dma_addr: hex(iova) }),
    ...(address !== undefined && { phys_addr: hex(address) }),
    ...(sizeBytes !== undefined && { size: sizeBytes }),
    ...(outcome !== undefined && { outcome }),
  };
}
