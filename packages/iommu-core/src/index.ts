/** The generic IOMMU API: the device is the key. */
export * from './capabilities.ts';
export { UNLABELLED, IommuDomain, type DomainKind, type FaultHandler } from './domain.ts';
export type { DirtyPage } from './mapping/dirty-tracking.ts';
export type { DefaultDomainKind, DomainRequest } from './domain-factory.ts';
export * from './driver-port.ts';
export * from './faults/fault.ts';
export type { FaultListener } from './faults/fault-desk.ts';
export { FAULT_LIMIT } from './faults/fault-log.ts';
export * from './faults/fault-queue.ts';
export * from './faults/format-explanation.ts';
export * from './mapping/gather.ts';
export type { IommuGroup } from './groups/group.ts';
export { type AddressSpaceSpan, IoAddressSpace, type SpaceDomain } from './io-address-space.ts';
export * from './iommu.ts';
export {
  HISTORY_LIMIT,
  MappingJournal,
  type MappingRecord,
  type UnmappedRecord,
} from './mapping/mapping-journal.ts';
export type { ScatterEntry } from './mapping/merge-entries.ts';
export type { ProcessBond } from './process-binding.ts';
export * from './process-space.ts';
export * from './protection.ts';
export * from './mapping/split-range.ts';
export type { Conclusion, Explanation } from './faults/explanation.ts';
export type { Neighbour, Right } from './faults/fault-facts.ts';
