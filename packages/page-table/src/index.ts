/** Table formats: how software writes the page tables that hardware walks. */
export * from './table-memory.ts';
export {
  LINUX_V7S,
  MSM_2010,
  MSM_2011,
  MSM_VENDOR,
  type AccessPermissionCodes,
  type LeafAttributes,
  type MemoryKind,
  type ShortDescriptorFormat,
} from './short-descriptor-format.ts';
export type { LeafListener } from './leaf-run.ts';
export * from './short-descriptor-table.ts';
export type { TableWalkStep, Translation, WordReader } from './short-descriptor-walk.ts';
