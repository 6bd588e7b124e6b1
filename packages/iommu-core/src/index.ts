/** The generic IOMMU API: the device is the key. */
export * from './capabilities.ts';
export { UNLABELLED, IommuDomain, type DomainKind, type FaultHandler } from './domain.ts';
export type { DefaultDomainKind, DomainRequest } from './domain-factory.ts';
export * from './driver-port.ts';
export * from './fault.ts';
export { FAULT_LIMIT } from './fault-log.ts';
export * from './format-explanation.ts';
export * from './gather.ts';
export type { IommuGroup } from './group.ts';
export * from './iommu.ts';
export { HISTORY_LIMIT, MappingJournal, type MappingRecord, type UnmappedRecord } from './mapping-journal.ts';
export type { ScatterEntry } from './merge-entries.ts';
export * from './protection.ts';
export * from './split-range.ts';
export type { Conclusion, Explanation } from './explanation.ts';
export type { Neighbour, Right } from './fault-facts.ts';
