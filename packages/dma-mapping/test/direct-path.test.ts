import { describe, expect, test } from '@jest/globals';
import { LabError, physAddr } from '@iommu-lab/machine';
import { ARENA, makeSystem } from './support/system.ts';

describe('direct mapping', () => {
  test('the device address is the physical one; lists stay as they are', () => {
    const { dma } = makeSystem({ path: 'direct' });
    expect(dma.kind).toBe('direct');
    expect(dma.mapSingle(physAddr(ARENA + 12), 40, 'to-device')).toBe(ARENA + 12);
    const list = [
      { address: ARENA, length: 4096 },
      { address: physAddr(ARENA + 4096), length: 4096 },
    ];
    expect(dma.mapSg(list, 'to-device')).toEqual(list);
  });

  test('a buffer may end at the mask; behind it, it is EIO, and the message says what to do', () => {
    const { dma, device } = makeSystem({ path: 'direct' });
    device.dmaMask = ARENA + 0xfff;
    dma.mapSingle(physAddr(ARENA + 0xff0), 16, 'to-device');
    const before = dma.mappedBytes;
    expect(() => dma.mapSingle(physAddr(ARENA + 0xff0), 17, 'to-device')).toThrow(
      /^EIO: .*no bounce pool: place the buffer lower/,
    );
    expect(() =>
      dma.mapSg(
        [
          { address: ARENA, length: 16 },
          { address: physAddr(ARENA + 0x1000), length: 16 },
        ],
        'to-device',
      ),
    ).toThrow('EIO');
    expect(dma.mappedBytes).toBe(before);
  });

  test('a mask that reaches no memory is refused', () => {
    const { dma, device } = makeSystem({ path: 'direct' });
    expect(() => dma.setMask(0x3fffffff)).toThrow(/^EIO/);
    expect(device.dmaMask).toBe(0xffffffff);
    dma.setMask(0x7fffffff);
    expect([device.dmaMask, device.coherentDmaMask]).toEqual([0x7fffffff, 0x7fffffff]);
  });

  test('coherent memory above the coherent mask is ENOMEM and not kept', () => {
    const { dma, device, frames } = makeSystem({ path: 'direct' });
    device.coherentDmaMask = ARENA + 0xfff;
    const free = frames.freeBytes;
    expect(() => dma.allocCoherent(64)).toThrow(LabError);
    expect(frames.freeBytes).toBe(free);
  });
});
