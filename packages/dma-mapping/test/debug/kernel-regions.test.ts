import { expect, test } from '@jest/globals';
import { KernelRegions } from '../../src/debug/dma-debug.ts';

test('what is declared is that, other RAM is memory, the rest is nothing', () => {
  const regions = new KernelRegions([{ base: 0x1000, sizeBytes: 0x3000 }]);
  const end = regions.declare('stack', 0x2000, 0x1000);
  expect(regions.kindOf(0x1000, 0x1000)).toBe('memory');
  expect(regions.kindOf(0x1fff, 2)).toBe('stack');
  expect(regions.kindOf(0x2fff, 1)).toBe('stack');
  expect(regions.kindOf(0x3000, 0x1000)).toBe('memory');
  expect(regions.kindOf(0x3000, 0x1001)).toBe('none');
  end();
  end();
  expect(regions.kindOf(0x2000, 0x1000)).toBe('memory');
});
