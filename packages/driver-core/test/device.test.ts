import { describe, expect, test } from '@jest/globals';
import { Device, DMA_MASK_32, slot } from '../src/index.ts';

const noDevice = expect.objectContaining({ code: 'ENODEV' });

describe('Device', () => {
  test('matches by its name unless it says otherwise, drives 32 bits and does not snoop', () => {
    const device = new Device('rot');
    expect(device.compatible).toBe('rot');
    expect([device.dmaMask, device.coherentDmaMask]).toEqual([DMA_MASK_32, DMA_MASK_32]);
    expect(device.isDmaCoherent).toBe(false);
    expect(device.endpoints).toEqual([]);
  });

  test('finds resources by kind and name', () => {
    const device = new Device('rot', {
      resources: [
        { kind: 'memory', name: 'regs', start: 0x4000, sizeBytes: 0x1000 },
        { kind: 'interrupt', name: 'regs', irq: 9 },
      ],
    });
    expect(device.memoryResource('regs').start).toBe(0x4000);
    expect(device.interruptResource('regs').irq).toBe(9);
    expect(() => device.memoryResource('other')).toThrow(noDevice);
  });

  test('keeps what layers leave in their slots apart, whatever the slots are called', () => {
    const device = new Device('rot');
    const group = slot<number>('group');
    const sameName = slot<number>('group');
    device.set(group, 4);
    expect(device.require(group)).toBe(4);
    expect(device.get(sameName)).toBeUndefined();
    expect(() => device.require(sameName)).toThrow(noDevice);
    device.clear(group);
    expect(device.get(group)).toBeUndefined();
  });
});
