/** The programmer's view of the media devices: what their drivers share with them. */
export * from './common.ts';
export * from './gfx2d.ts';
export * from './ijpeg.ts';
export * from './mdp.ts';
export * from './rot.ts';
export * from './vfe.ts';
