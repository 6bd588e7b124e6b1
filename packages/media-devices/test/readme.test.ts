import { expect, test } from '@jest/globals';
import { runReadme } from '@iommu-lab/readme-test';

test('the README example runs and prints what it says', async () => {
  expect(await runReadme(import.meta.url)).toHaveLength(1);
});
