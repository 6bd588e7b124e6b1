/** Scenarios: the format, the reader, the player and its report. */
export type { Artifact } from './jobs/job.ts';
export * from './parse-scenario.ts';
export * from './report.ts';
export * from './run-scenario.ts';
export * from './schema.ts';
export * from './text-table.ts';
