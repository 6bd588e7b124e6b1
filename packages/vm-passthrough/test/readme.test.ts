import { runReadme } from '@iommu-lab/readme-test';
import { expect, test } from '@jest/globals';

test('the example of the README prints what the README says', async () => {
  expect(await runReadme(import.meta.url)).toHaveLength(1);
});
