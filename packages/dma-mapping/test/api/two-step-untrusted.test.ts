/** The two-step calls for a device that is not trusted: it reaches no byte around the pieces. */
import { describe, expect, test } from '@jest/globals';
import { physAddr } from '@iommu-lab/machine';
import type { IovaReservation } from '../../src/index.ts';
import { codeOf } from '../support/code-of.ts';
import { filled, HIGH, LOW_FRAMES, Machine, PAGE } from './fixture.ts';

describe('a device that is not trusted', () => {
  const machineWithPool = () => {
    const machine = new Machine({ frames: LOW_FRAMES, bounceBytes: 1 << 18 });
    const attached = machine.add('port', { isUntrusted: true, isCoherent: true });
    const range = attached.dma.tryAllocIova(physAddr(HIGH + 0x100), 64) as IovaReservation;
    return { machine, ...attached, range };
  };

  test('sees the bytes of the piece alone, and what it wrote comes back', () => {
    const { machine, dma, range, read, write } = machineWithPool();
    machine.cpuWrite(HIGH, filled(PAGE, 0x55));
    dma.linkIova(range, physAddr(HIGH + 0x100), 0, 64, 'bidirectional');
    dma.syncIova(range, 0, 64);
    expect(read(range.address, 64)).toEqual(filled(64, 0x55));
    expect(read(range.address - 0x100, 0x100)).toEqual(filled(0x100, 0));
    expect(write(range.address - 0x100, filled(PAGE, 0x66))).toBe(true);
    dma.destroyIova(range, 64, 'bidirectional');
    expect(machine.cpuRead(HIGH, PAGE)).toEqual(
      Uint8Array.from([...filled(0x100, 0x55), ...filled(64, 0x66), ...filled(PAGE - 0x140, 0x55)]),
    );
    expect(machine.bounce?.occupancy.mappings).toBe(0);
  });

  test('EPERM where it would have to be bounced and may not', () => {
    const { machine, dma, range } = machineWithPool();
    const options = { requireCoherent: true };
    expect(codeOf(() => dma.linkIova(range, physAddr(HIGH + 0x100), 0, 64, 'to-device', options))).toBe(
      'EPERM',
    );
    expect([dma.mappedBytes, machine.bounce?.occupancy.mappings]).toEqual([0, 0]);
    dma.freeIova(range);
  });
});
