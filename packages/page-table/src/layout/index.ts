/** The bit layouts alone: what a hardware model may know of a table format. */
export * from './short-descriptor.ts';
