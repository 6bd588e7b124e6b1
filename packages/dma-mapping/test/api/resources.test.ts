/** `mapResource`: another device's registers, given to a device (linux dma_map_resource). */
import { describe, expect, test } from '@jest/globals';
import { codeOf } from '../support/code-of.ts';
import { ARENA, FIFO, filled, FIRST_IOVA, LOW_FRAMES, Machine, PAGE } from './fixture.ts';

describe.each(['direct', 'iommu'])('registers (%s)', (behind) => {
  test('the device reaches them, and nothing is done to the cache', () => {
    const machine = new Machine();
    const { dma, read, write } = machine.add('dma', { behind });
    const address = dma.mapResource(FIFO, 16, 'bidirectional');
    expect(write(address, filled(16, 5))).toBe(true);
    expect(read(address, 16)).toEqual(filled(16, 5));
    expect(machine.memoryAt(FIFO, 16)).toEqual(filled(16, 5));
    dma.unmapResource(address, 16, 'bidirectional');
    expect(machine.maintenance).toEqual([]);
    expect(machine.namesOf('dma:')).toEqual(['dma:map_resource', 'dma:unmap_resource']);
  });

  test('resource and page are two kinds: each is taken back by its own call', () => {
    const { dma } = new Machine().add('dma', { behind });
    const registers = dma.mapResource(FIFO, 16, 'to-device');
    const buffer = dma.mapSingle(ARENA, 16, 'to-device');
    expect(codeOf(() => dma.unmapSingle(registers, 16, 'to-device'))).toBe('EINVAL');
    expect(codeOf(() => dma.unmapResource(buffer, 16, 'to-device'))).toBe('EINVAL');
    expect(dma.mappedBytes).toBe(32);
    dma.unmapResource(registers, 16, 'to-device');
    dma.unmapPage(buffer, 16, 'to-device');
    expect(dma.mappedBytes).toBe(0);
  });

  test('size, direction and mask are checked as for memory', () => {
    const { dma, device } = new Machine().add('dma', { behind });
    expect(codeOf(() => dma.mapResource(FIFO, 0, 'to-device'))).toBe('EINVAL');
    expect(codeOf(() => dma.mapResource(FIFO, 4, 'none' as 'to-device'))).toBe('EINVAL');
    device.dmaMask = 0xfff;
    expect(codeOf(() => dma.mapResource(FIFO, 4, 'to-device'))).toBe(behind === 'direct' ? 'EIO' : 'ENOSPC');
    expect(dma.mappedBytes).toBe(0);
  });

  // Fails: it says yes for a device that does not snoop, and the syncs below clean and invalidate lines of registers.
  test('needSync says no: a sync of registers has nothing to do', () => {
    const { dma } = new Machine().add('dma', { behind });
    expect(dma.needSync(dma.mapResource(FIFO, 16, 'to-device'))).toBe(false);
  });

  test('a sync of registers does nothing to the cache', () => {
    const machine = new Machine();
    const { dma } = machine.add('dma', { behind });
    const address = dma.mapResource(FIFO, 16, 'bidirectional');
    dma.syncSingleForDevice(address, 16, 'bidirectional');
    dma.syncSingleForCpu(address, 16, 'bidirectional');
    expect(machine.maintenance).toEqual([]);
  });
});

test('behind an IOMMU they are mapped as registers, also for a device that snoops', () => {
  const machine = new Machine();
  const { dma, device } = machine.add('dma', { isCoherent: true });
  expect(dma.mapResource(FIFO, 16, 'from-device')).toBe(FIRST_IOVA);
  expect(machine.iommu.domainOf(device)?.mappings()[0]).toMatchObject({
    address: FIFO,
    sizeBytes: PAGE,
    protection: { read: false, write: true, mmio: true },
  });
});

test('directly the address is the physical one, whatever the windows of the bus onto memory', () => {
  const { dma } = new Machine().add('dma', {
    behind: 'direct',
    dmaRanges: [{ busStart: 0x80000000, cpuStart: ARENA, sizeBytes: 0x100000 }],
  });
  expect(dma.mapSingle(ARENA, 16, 'to-device')).toBe(0x80000000);
  expect(dma.mapResource(FIFO, 16, 'to-device')).toBe(FIFO);
});

test('they are never bounced: out of reach is EIO although there is a pool, and so is a device that must bounce', () => {
  const options = { frames: LOW_FRAMES, bounceBytes: 1 << 18 };
  const forced = new Machine({ ...options, wiring: { forceBounce: () => true } });
  const reached = forced.add('dma', { behind: 'direct' });
  expect(codeOf(() => reached.dma.mapResource(FIFO, 16, 'to-device'))).toBe('EIO');
  const plain = new Machine(options);
  const low = plain.add('low', { behind: 'direct', dmaMask: FIFO - 1 });
  expect(codeOf(() => low.dma.mapResource(FIFO, 16, 'to-device'))).toBe('EIO');
  expect([forced.bounce?.occupancy.mapped, plain.bounce?.occupancy.mapped]).toEqual([0, 0]);
});
