/**
 * What is looked at when memory is mapped: what kind of memory it is (classes 9 to 12 and 25), and whether its segments suit
 * the device (13 and 14). (kernel/dma/debug.c: debug_dma_map_single, check_for_stack, check_for_illegal_area,
 * check_sg_segment; kernel/dma/mapping.c: dma_map_resource.)
 */
import { hex, LabError } from '@iommu-lab/machine';
import type { DebugState } from './debug-state.ts';
import type { DmaErrorKind } from './error-kinds.ts';
import type { AddressKind } from './kernel-regions.ts';
import type { CallSite, DeviceRecords, MappingRecord } from './records.ts';

/** Which map call it is; each refuses other memory. */
export type MapCall = 'single' | 'page' | 'sg' | 'resource';

type Verdict = { readonly kind: DmaErrorKind; readonly isRefused: boolean; readonly what: string };

const ON_STACK: Verdict = { kind: 'map-of-stack', isRefused: false, what: 'a buffer on a stack' };
const IN_TEXT: Verdict = { kind: 'map-of-text', isRefused: false, what: 'kernel text or read-only data' };
const AS_RESOURCE: Verdict = { kind: 'resource-is-memory', isRefused: true, what: 'memory as registers' };

const VERDICTS: Readonly<Record<MapCall, Partial<Readonly<Record<AddressKind, Verdict>>>>> = {
  single: {
    stack: ON_STACK,
    text: IN_TEXT,
    none: { kind: 'map-of-no-memory', isRefused: true, what: 'an address that is no memory' },
    vmalloc: { kind: 'map-of-vmalloc', isRefused: true, what: 'a virtually mapped buffer' },
  },
  page: {
    stack: ON_STACK,
    text: IN_TEXT,
    'device-private': {
      kind: 'page-is-device-private',
      isRefused: true,
      what: 'a page in private memory of a device',
    },
  },
  sg: { stack: ON_STACK, text: IN_TEXT },
  resource: { memory: AS_RESOURCE, stack: AS_RESOURCE, text: AS_RESOURCE },
};

/**
 * Looks at one piece of memory that is about to be mapped.
 * @returns why it must not be mapped; undefined when it may (reported or not)
 */
export function checkMemory(
  state: DebugState,
  records: DeviceRecords,
  call: MapCall,
  address: number,
  sizeBytes: number,
  site: CallSite,
): LabError | undefined {
  if (state.kernelMap === undefined || !(sizeBytes > 0)) return undefined;
  const verdict = VERDICTS[call][state.kernelMap.kindOf(address, sizeBytes)];
  if (verdict === undefined) return undefined;
  const device = records.device.name;
  state.book.add({
    kind: verdict.kind,
    device,
    what: `maps ${verdict.what}: ${sizeBytes} bytes at ${hex(address)}`,
    culprit: site,
    address,
    sizeBytes,
  });
  if (!verdict.isRefused) return undefined;
  return new LabError('EINVAL', `${device}: ${verdict.what} is not mapped`, { device, address, sizeBytes });
}

/** Looks at the segments of a scatter list that has been mapped. */
export function checkSegments(state: DebugState, { device }: DeviceRecords, record: MappingRecord): void {
  const { maxSegmentBytes, segmentBoundaryMask } = device.dmaParameters;
  const { segments, made } = record.parts;
  segments.forEach(({ address, length }, index) => {
    const where = `maps a list whose segment ${index} of ${segments.length} (${length} bytes at ${hex(address)})`;
    const common = { device: device.name, culprit: made, mapping: record, iova: address, sizeBytes: length };
    if (length > maxSegmentBytes) {
      const what = `${where} is longer than the ${maxSegmentBytes} bytes that the device takes`;
      state.book.add({ ...common, kind: 'segment-too-long', what });
    }
    const size = segmentBoundaryMask + 1;
    if (Math.floor(address / size) !== Math.floor((address + length - 1) / size)) {
      const what = `${where} crosses a multiple of ${hex(size)}`;
      state.book.add({ ...common, kind: 'segment-crosses-boundary', what });
    }
  });
}
