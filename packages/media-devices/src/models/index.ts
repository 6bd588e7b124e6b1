/** DMA masters with registers. */
export * from '../registers/index.ts';
export * from './gfx2d.ts';
export * from './ijpeg.ts';
export { JobEngine, type JobFailure } from './job-engine.ts';
export * from './mdp.ts';
export * from './rot.ts';
export * from './vfe.ts';
