/** What mutation testing looks at, of both tools: what decides on an address, a right or an entry. */
import { strykerOptions } from '@iommu-lab/mutation/stryker';

/** How descriptors are cut up. */
export const bitsToo = ['../page-table/src/layout/short-descriptor.ts'];

export default strykerOptions([
  'src/attributes.ts',
  'src/fetch-buffer.ts',
  'src/leaf.ts',
  'src/maintenance.ts',
  'src/memory-type.ts',
  'src/permission.ts',
  'src/tlb-key.ts',
  'src/tlb.ts',
  'src/translate.ts',
  'src/walk.ts',
]);
