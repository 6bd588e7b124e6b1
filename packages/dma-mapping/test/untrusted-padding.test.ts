/** What a device that is not trusted and does not snoop sees of the bounce pool: found by the random programs. */
import { expect, test } from '@jest/globals';
import { physAddr } from '@iommu-lab/machine';
import { ARENA, filled, makeSystem, type TestSystem } from './support/system.ts';

/** A device that is not trusted and does not snoop; all of the bounce pool holds what buffers before had. */
function withUsedPool(): TestSystem {
  const system = makeSystem({
    path: 'iommu',
    isUntrusted: true,
    bounce: { sizeBytes: 0x40000 },
    cache: { sets: 1024, ways: 2 },
  });
  const buffer = physAddr(ARENA + 100);
  system.cpuWrite(buffer, filled(3900, 0x55));
  for (let i = 0; i < 64; i++) {
    const before = system.dma.mapSingle(buffer, 3900, 'to-device');
    system.dma.unmapSingle(before, 3900, 'to-device');
  }
  return system;
}

// The pool zeroes the padding through the CPU's cache: it has to be cleaned like the buffer.
test('around a bounced edge are zeros', () => {
  const { dma, deviceRead } = withUsedPool();
  const address = dma.mapSingle(physAddr(ARENA + 0x2064), 10, 'to-device');
  const page = deviceRead(address - (address % 4096), 4096) ?? new Uint8Array();
  expect(page.filter((byte) => byte === 0x55)).toHaveLength(0);
});

// The caller's own maintenance is for the buffer's bytes: what was in the slot before is not his.
test('with skipCpuSync a bounced edge shows nothing of others', () => {
  const { dma, deviceRead } = withUsedPool();
  const address = dma.mapSingle(physAddr(ARENA + 0x2064), 10, 'to-device', { skipCpuSync: true });
  const page = deviceRead(address - (address % 4096), 4096) ?? new Uint8Array();
  expect(page.filter((byte) => byte === 0x55)).toHaveLength(0);
});
