/** A NIC, its driver, and what each way of doing DMA costs it. */
export { type BarChart, renderBars } from './bar-chart.ts';
export { renderBarsSvg } from './bar-chart-svg.ts';
export * from './cost-model.ts';
export type { LateWrite, LateWrites } from './late-write.ts';
export * from './nic-driver.ts';
export * from './nic-model.ts';
export * from './play.ts';
export * from './published.ts';
