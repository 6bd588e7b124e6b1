/** The MSM SoC bus: its devices, their hard-wired IOMMU contexts, clocks and platform data. */
export * from './clock-gate.ts';
export * from './iommu-context.ts';
export * from './msm-bus.ts';
export * from './msm-device.ts';
export * from './platform-data.ts';
