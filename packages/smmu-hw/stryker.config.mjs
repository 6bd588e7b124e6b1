/** What mutation testing looks at, of both tools: what decides on an address, a right or an entry. */
import { strykerOptions } from '@iommu-lab/mutation/stryker';

export default strykerOptions([
  'src/attributes.ts',
  'src/fetch-buffer.ts',
  'src/maintenance.ts',
  'src/memory-type.ts',
  'src/permission.ts',
  'src/tlb.ts',
  'src/translate.ts',
  'src/walk.ts',
]);
