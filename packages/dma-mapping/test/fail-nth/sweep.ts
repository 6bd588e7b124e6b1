/** Makes every step of a call fail once. Afterwards everything is as it was before the call. */
import { expect } from '@jest/globals';
import { isLabError } from '@iommu-lab/machine';
import { ARENA, filled, makeSystem, type TestSystem } from '../support/system.ts';
import type { SweptCall, SweptWay, Undo } from './calls.ts';

/** Steps that can fail without the call failing: it does something lesser instead. */
export const SOFT_SITES: ReadonlySet<string> = new Set([
  'dma-mapping.debug-entry', // The checker turns itself off.
  'dma-mapping.flush-queue', // The domain is strict.
]);

const CODES = ['ENOMEM', 'ENOSPC'];

/** All that a call could leave behind. */
function leftOf(system: TestSystem): object {
  const { dma, frames, iommu, device, layer, pool } = system;
  const domain = iommu.defaultDomainOf(device);
  const report = device.bus === undefined ? undefined : layer.iovaReport(device);
  const { usedSlots, mappings, transientPools, pools } = pool?.occupancy ?? {};
  return {
    mapped: [dma.mappedBytes, dma.reservedBytes],
    freeBytes: frames.freeBytes,
    domain: [domain?.mappings(), domain?.mappedBytes],
    iovas: [report?.allocatedBytes, report?.deferred?.pending],
    bounced: [usedSlots, mappings, transientPools, pools],
    masks: [device.dmaMask, device.coherentDmaMask],
    checked: system.debug?.liveMappings().length,
    // Looking at what is reached is itself reported.
    reports: system.debug?.reports.filter(({ kind }) => !kind.startsWith('device-')),
  };
}

/** The same, and what a call that failed must not have touched: bytes and cache. */
function stateOf(system: TestSystem): object {
  return {
    ...leftOf(system),
    line: system.cache.lineState(ARENA),
    // What the device reaches: what was mapped before, and around it.
    reached: reachedOf(system),
  };
}

/** Bytes that the device sees near the first mapping: undefined where it faults. */
function reachedOf({ deviceRead, device }: TestSystem): unknown {
  if (device.endpoints.length === 0) return undefined;
  const pages: (readonly number[] | undefined)[] = [];
  for (let page = 1; page <= 24; page++) {
    const bytes = deviceRead(2 ** 32 - page * 4096, 4);
    pages.push(bytes && [...bytes]);
  }
  return pages;
}

interface Ready {
  readonly system: TestSystem;
  readonly run: () => Undo | undefined;
}

function makeReady(call: SweptCall, way: SweptWay): Ready {
  const system = makeSystem({ ...way.options, moreFramesBytes: 0x20000, cache: { sets: 1024, ways: 4 } });
  const { dma } = system;
  if (call.name !== 'configure a device') {
    // Something is mapped already; of the buffer's first line the CPU has newer bytes.
    dma.mapSingle(ARENA, 100, 'to-device', { site: 'before' });
    system.cpuWrite(ARENA, filled(8, 1));
  }
  if (way.isFull === true) for (let i = 0; i < 4; i++) fill(system);
  const run = call.prepare(system);
  return { system, run };
}

function fill({ dma, pool }: TestSystem): void {
  for (let size = 0x10000; size >= 2048; size /= 2) {
    while ((pool?.occupancy.slots ?? 0) - (pool?.occupancy.usedSlots ?? 0) >= size / 2048) {
      dma.mapSingle(ARENA, size, 'to-device', { site: 'fill' });
    }
  }
}

/** @returns the sites that were made to fail, sorted */
export function sweep(call: SweptCall, way: SweptWay): readonly string[] {
  const swept = new Set<string>();
  const open = new Map(hitsOfSuccess(call, way));
  for (const [site, count] of open) {
    swept.add(site);
    for (let n = 1; n <= count; n++) {
      // A failure can lead where nobody was before.
      for (const [other, times] of expectCleanFailure(call, way, site, n)) {
        if (!open.has(other)) open.set(other, times);
      }
    }
  }
  return [...swept].sort();
}

/** The call goes through, and giving back can fail nowhere and leaves nothing. */
function hitsOfSuccess(call: SweptCall, way: SweptWay): ReadonlyMap<string, number> {
  const { system, run } = makeReady(call, way);
  const before = leftOf(system);
  system.world.failpoints.reset();
  const undo = run();
  const hits = new Map(system.world.failpoints.hits());
  expect(undo).toBeDefined();
  system.world.failpoints.failNth(1);
  undo?.();
  expect(system.world.failpoints.hasFired).toBe(false);
  system.world.failpoints.reset();
  if (system.device.bus !== undefined) system.layer.flush(system.device);
  expect(leftOf(system)).toEqual(before);
  return hits;
}

function expectCleanFailure(
  call: SweptCall,
  way: SweptWay,
  site: string,
  n: number,
): ReadonlyMap<string, number> {
  const { system, run } = makeReady(call, way);
  const left = leftOf(system);
  const before = stateOf(system);
  const events = system.events.length;
  const { failpoints } = system.world;
  failpoints.failNth(n, site);
  let code = 'by value';
  let undo: Undo | undefined;
  try {
    undo = run();
    if (undo !== undefined) code = 'done';
  } catch (error) {
    if (!isLabError(error)) throw error;
    code = error.code;
  }
  const { hasFired } = failpoints;
  const hits = new Map(failpoints.hits());
  failpoints.reset();
  const where = { call: call.name, way: way.name, site, n };
  expect({ ...where, hasFired }).toEqual({ ...where, hasFired: true });
  if (SOFT_SITES.has(site)) {
    expect({ ...where, code }).toEqual({ ...where, code: 'done' });
    undo?.();
    return hits;
  }
  expect({ ...where, isRefused: code === 'by value' || CODES.includes(code), code }).toEqual({
    ...where,
    isRefused: true,
    code,
  });
  expect({ ...where, state: stateOf(system) }).toEqual({ ...where, state: before });
  expect(told(system, events)).toEqual([]);
  // The same call goes through once there is memory again.
  run()?.();
  if (system.device.bus !== undefined) system.layer.flush(system.device);
  expect({ ...where, ...leftOf(system) }).toEqual({ ...where, ...left });
  return hits;
}

/** Events that say that something is mapped. */
function told({ events }: TestSystem, from: number): readonly string[] {
  return events
    .slice(from)
    .map(({ name }) => name)
    .filter((name) => /^dma:(map|alloc)|^mm:mmap/.test(name));
}
