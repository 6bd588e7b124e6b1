/** Reserved regions of devices: who says so, merged, and what they forbid (drivers/iommu/iommu.c, iommu_get_resv_regions). */
import type { ReservedRegion } from '@iommu-lab/driver-core';
import { alignDown, alignUp, hex, LabError } from '@iommu-lab/machine';
import type { IommuDomain } from './domain.ts';
import type { Binding } from './groups/group.ts';
import { READ_WRITE } from './protection.ts';

/**
 * What firmware and the IOMMUs say about the bindings' devices: ascending, and regions of one kind that overlap or touch are
 * one.
 */
export function reservedRegionsOf(bindings: readonly Binding[]): readonly ReservedRegion[] {
  const all = new Set(
    bindings.flatMap(({ device, instance, endpoint, isGone }) => [
      ...device.reservedRegions,
      ...(isGone ? [] : (instance.reservedRegions?.(endpoint) ?? [])),
    ]),
  );
  const merged: ReservedRegion[] = [];
  for (const region of [...all].sort((a, b) => a.iova - b.iova)) {
    const index = merged.findLastIndex((r) => r.kind === region.kind);
    const last = merged[index];
    if (last === undefined || last.iova + last.sizeBytes < region.iova) {
      merged.push(region);
      continue;
    }
    const end = Math.max(last.iova + last.sizeBytes, region.iova + region.sizeBytes);
    const isNamed = last.name.split(', ').includes(region.name);
    const name = isNamed ? last.name : `${last.name}, ${region.name}`;
    merged[index] = { ...last, name, sizeBytes: end - last.iova };
  }
  return merged;
}

/** Whether the device uses IOVAs of its own all the time, so that it must never be blocked. */
export function requiresDirect({ device, instance, endpoint, isGone }: Binding): boolean {
  const isDirect = ({ kind }: ReservedRegion): boolean => kind === 'direct';
  const own = isGone ? [] : (instance.reservedRegions?.(endpoint) ?? []);
  return [...device.reservedRegions, ...own].some(isDirect);
}

/**
 * The region among `regions` that forbids an owner's mapping there. `direct-relaxable` ones do not: they end with the
 * driver that needed them.
 */
export function forbiddenBy(
  regions: readonly ReservedRegion[],
  iova: number,
  sizeBytes: number,
): ReservedRegion | undefined {
  return regions.find(
    (r) => r.kind !== 'direct-relaxable' && r.iova < iova + sizeBytes && iova < r.iova + r.sizeBytes,
  );
}

/** Where direct regions are mapped: a default domain, or the address space that holds several together. */
export type DirectTarget = Pick<
  IommuDomain,
  'kind' | 'name' | 'capabilities' | 'iovaToPhys' | 'map' | 'unmap'
>;

/**
 * Maps what must always lead to itself, where another device of the group has not done so already. Before the device is
 * attached: its hardware may be using it already (iommu_create_device_direct_mappings).
 * @returns takes back what this call mapped
 * @throws LabError EADDRINUSE where something else is mapped; as `IommuDomain.map`; with nothing of it left
 */
export function mapDirectRegions(target: DirectTarget, regions: readonly ReservedRegion[]): () => void {
  const done: { readonly start: number; readonly sizeBytes: number; readonly by: string }[] = [];
  const undo = (): void => {
    for (const { start, sizeBytes, by } of done.splice(0).reverse()) target.unmap(start, sizeBytes, by);
  };
  if (target.kind !== 'paging') return undo;
  try {
    for (const region of regions) {
      if (region.kind !== 'direct' && region.kind !== 'direct-relaxable') continue;
      const by = `reserved: ${region.name}`;
      for (const { start, sizeBytes } of missingRuns(target, region)) {
        target.map(start, start, sizeBytes, READ_WRITE, by);
        done.push({ start, sizeBytes, by });
      }
    }
  } catch (error) {
    undo();
    throw error;
  }
  return undo;
}

/** Runs of granules under the region, rounded outward, of which nothing is mapped. @throws LabError EADDRINUSE */
function missingRuns(
  target: DirectTarget,
  { name, iova, sizeBytes }: ReservedRegion,
): readonly { readonly start: number; readonly sizeBytes: number }[] {
  const granule = target.capabilities.pageSizes[0] ?? 1;
  const runs: { readonly start: number; readonly sizeBytes: number }[] = [];
  for (let at = alignDown(iova, granule); at < alignUp(iova + sizeBytes, granule); at += granule) {
    const there = target.iovaToPhys(at);
    if (there === at) continue;
    if (there !== undefined) {
      throw new LabError(
        'EADDRINUSE',
        `${hex(at)} of "${name}" is mapped to ${hex(there)} in ${target.name}`,
        {
          region: name,
        },
      );
    }
    const last = runs.at(-1);
    if (last !== undefined && last.start + last.sizeBytes === at) {
      runs[runs.length - 1] = { start: last.start, sizeBytes: last.sizeBytes + granule };
    } else {
      runs.push({ start: at, sizeBytes: granule });
    }
  }
  return runs;
}

/** @throws LabError EADDRINUSE when a mapping would lie in a reserved region */
export function refuseReserved(regions: readonly ReservedRegion[], iova: number, sizeBytes: number): void {
  const region = forbiddenBy(regions, iova, sizeBytes);
  if (region === undefined) return;
  throw new LabError(
    'EADDRINUSE',
    `${hex(iova)}-${hex(iova + sizeBytes - 1)} lies in the ${region.kind} region "${region.name}" at ${hex(region.iova)}`,
    { iova, sizeBytes, region: region.name },
  );
}
