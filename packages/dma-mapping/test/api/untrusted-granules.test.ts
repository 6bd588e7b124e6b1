/** A device that is not trusted never gets the rest of a granule: what cannot be bounced is refused. */
import { describe, expect, test } from '@jest/globals';
import { physAddr } from '@iommu-lab/machine';
import { DMA_MAPPING_ERROR } from '../../src/index.ts';
import { codeOf } from '../support/code-of.ts';
import { ARENA, FIFO, filled, Machine, PAGE } from './fixture.ts';

const VALUE = { errorAsValue: true };
const at = (page: number, offset = 0) => physAddr(ARENA + page * PAGE + offset);

describe.each([false, true])('registers, bounce pool: %p', (hasPool) => {
  const machineWith = () => new Machine(hasPool ? { bounceBytes: 1 << 18 } : {});

  test.each([
    [0x100, 4],
    [0, 4],
    [0x800, PAGE / 2],
  ])('part of a granule (%i + %i) is EIO: its neighbours are registers of others', (offset, sizeBytes) => {
    const machine = machineWith();
    const { dma, device } = machine.add('port', { isUntrusted: true });
    const registers = physAddr(FIFO + offset);
    expect(codeOf(() => dma.mapResource(registers, sizeBytes, 'bidirectional'))).toBe('EIO');
    expect(dma.mapResource(registers, sizeBytes, 'bidirectional', VALUE)).toBe(DMA_MAPPING_ERROR);
    expect([dma.mappedBytes, machine.layer.iovaReport(device)?.allocatedBytes]).toEqual([0, 0]);
    expect(machine.iommu.domainOf(device)?.mappings()).toEqual([]);
  });

  test('a whole granule is mapped', () => {
    const machine = machineWith();
    const { dma, write } = machine.add('port', { isUntrusted: true });
    const address = dma.mapResource(FIFO, PAGE, 'bidirectional');
    expect(write(address, filled(4, 7))).toBe(true);
    expect(machine.memoryAt(FIFO, 4)).toEqual(filled(4, 7));
    expect([write(address - 1, filled(1, 7)), write(address + PAGE, filled(1, 7))]).toEqual([false, false]);
    dma.unmapResource(address, PAGE, 'bidirectional');
  });
});

describe('buffers without a pool', () => {
  test.each([
    [0x100, PAGE],
    [0, PAGE - 1],
    [0, PAGE + 1],
    [0x10, 16],
  ])('one that shares a granule (%i + %i) is EIO, alone and in a list', (offset, length) => {
    const machine = new Machine();
    const { dma, device } = machine.add('port', { isUntrusted: true });
    const entries = [
      { address: at(4), length: PAGE },
      { address: at(0, offset), length },
    ];
    expect(codeOf(() => dma.mapSingle(at(0, offset), length, 'to-device'))).toBe('EIO');
    expect(dma.mapSingle(at(0, offset), length, 'to-device', VALUE)).toBe(DMA_MAPPING_ERROR);
    expect(codeOf(() => dma.mapSg(entries, 'to-device'))).toBe('EIO');
    expect(codeOf(() => dma.mapSgTable({ entries, segments: [] }, 'to-device'))).toBe('EIO');
    expect([dma.mappedBytes, machine.layer.iovaReport(device)?.allocatedBytes]).toEqual([0, 0]);
    expect(machine.iommu.domainOf(device)?.mappings()).toEqual([]);
  });

  test('whole granules are mapped, and so is what is allocated', () => {
    const { dma, read } = new Machine().add('port', { isUntrusted: true });
    const address = dma.mapSingle(at(0), 2 * PAGE, 'to-device');
    const [segment] = dma.mapSg(
      [
        { address: at(4), length: PAGE },
        { address: at(7), length: 2 * PAGE },
      ],
      'to-device',
    );
    const buffer = dma.allocCoherent(10);
    expect(read(address, 2 * PAGE)).toBeDefined();
    expect(read(segment?.address ?? 0, 3 * PAGE)).toBeDefined();
    expect(read(buffer.dmaAddress, 10)).toEqual(filled(10, 0));
  });
});
