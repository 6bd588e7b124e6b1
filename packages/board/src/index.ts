/** Boards as data, running systems, and scenarios played on them. */
export * from './boards.ts';
export * from './create-system.ts';
export * from './dma-settings.ts';
export * from './frame-buffer.ts';
export type { OutsideWorld } from './models.ts';
export * from './msm8x60.ts';
export * from './nic/index.ts';
export * from './picture.ts';
export * from './scenario/index.ts';
export * from './soc.ts';
export * from './system.ts';
export * from './test-card.ts';
