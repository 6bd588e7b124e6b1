import { expect, test } from '@jest/globals';
import { runReadme } from '@iommu-lab/readme-test';

test('the README examples run and print what the README says', async () => {
  expect(await runReadme(import.meta.url)).toHaveLength(2);
});
