import { expect, test } from '@jest/globals';
import { runReadme } from '@iommu-lab/readme-test';

test('the README example prints what the README says', async () => {
  await expect(runReadme(import.meta.url)).resolves.toHaveLength(1);
});
