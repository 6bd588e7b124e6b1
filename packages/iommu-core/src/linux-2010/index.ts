/** The IOMMU API of Linux 2.6.35 to 2.6.37, by name and shape. */
export * from './constants.ts';
export { ContextDevice } from './context-device.ts';
export { ERRNO } from './errno.ts';
export { KernelBug } from './kernel-bug.ts';
export * from './linux-2010.ts';
