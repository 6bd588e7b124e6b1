/** A deliberately odd small backend: the example to copy for a new one. */
export * from './capabilities.ts';
export * from './create-flat-iommu.ts';
export * from './driver.ts';
export { FlatHardware, type FlatHardwareOptions, type FlatHardwareWiring } from './flat-hw.ts';
export * as registers from './registers.ts';
export * from './table-format.ts';
export * from './table-memory.ts';
