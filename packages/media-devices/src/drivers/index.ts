/** Drivers of the media devices. */
export * from './gfx2d.ts';
export * from './ijpeg.ts';
export type { FrameBuffer, JobResult } from './job.ts';
export * from './mdp.ts';
export * from './rot.ts';
export * from './vfe.ts';
