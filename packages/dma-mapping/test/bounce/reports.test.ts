/** What a pool says: events with the kernel's names, and why a buffer was bounced. */
import { describe, expect, test } from '@jest/globals';
import type { LabEvent } from '@iommu-lab/machine';
import { codeOf } from '../support/code-of.ts';
import { BUFFERS, FRAMES, KIB, makeRig, request, type Rig } from './rig.ts';

function observe({ world }: Rig): LabEvent[] {
  const events: LabEvent[] = [];
  world.events.subscribe((event) => events.push(event));
  return events;
}

describe('events', () => {
  test('swiotlb:bounced, with the reason', () => {
    const rig = makeRig();
    const events = observe(rig);
    rig.pool.map(request({ limit: 0xbfffffff }));
    rig.pool.map(
      request({ original: BUFFERS + 64, reason: 'out-of-reach', limit: 0x8fffffff, sizeBytes: 10 }),
    );
    expect(events.map(({ name, fields }) => ({ name, ...fields }))).toEqual([
      {
        name: 'swiotlb:bounced',
        dev_name: 'camera',
        dma_mask: '0xbfffffff',
        dev_addr: '0x40000000',
        size: 64,
        force: true,
        reason: 'forced',
        tlb_addr: '0x80000000',
        site: 'camera: frame',
      },
      {
        name: 'swiotlb:bounced',
        dev_name: 'camera',
        dma_mask: '0x8fffffff',
        dev_addr: '0x40000040',
        size: 10,
        force: false,
        reason: 'out-of-reach',
        tlb_addr: '0x80000800',
        site: 'camera: frame',
      },
    ]);
  });

  test('swiotlb:full, at most ten times in five seconds', () => {
    const rig = makeRig({ sizeBytes: 256 * KIB });
    rig.pool.map(request({ sizeBytes: 255 * KIB }));
    const events = observe(rig);
    const ask = (times: number): void => {
      for (let i = 0; i < times; i++)
        expect(codeOf(() => rig.pool.map(request({ sizeBytes: 2049 })))).toBe('ENOMEM');
    };
    ask(13);
    expect(events.map(({ name }) => name)).toEqual(Array.from({ length: 10 }, () => 'swiotlb:full'));
    const fields = { dev_name: 'camera', size: 4096, total: 128, used: 128, suppressed: 0 };
    for (const event of events) expect(event.fields).toEqual(fields);
    rig.world.clock.advance(4_999_999_999);
    ask(1);
    expect(events.length).toBe(10);
    rig.world.clock.advance(1);
    ask(2);
    expect(events.slice(10).map((event) => event.fields['suppressed'])).toEqual([4, 0]);
    expect(rig.pool.occupancy.refused).toBe(16);
  });
});

describe('why was this bounced', () => {
  const ORIGINAL = BUFFERS + 0x123;
  const camera = { original: ORIGINAL, sizeBytes: 256, direction: 'to-device' };
  const start =
    'stands for the buffer of 256 bytes at 0x40000123, mapped to-device for camera by "camera: frame": ';

  test.each([
    [
      { reason: 'out-of-reach', original: FRAMES + 512 * KIB, limit: FRAMES + 512 * KIB - 1 },
      'camera reaches up to 0x8007ffff, and the buffer ends at 0x800800ff',
    ],
    [
      { reason: 'out-of-reach', limit: 0x8fffffff },
      'camera reaches up to 0x8fffffff, but not all of the memory below it, and not this buffer',
    ],
    [
      { reason: 'forced', limit: 0xffffffff },
      'every mapping of camera is bounced, also of what it reaches (up to 0xffffffff)',
    ],
    [
      { reason: 'untrusted-edge', allocAlignMask: 4095, minAlignMask: 4095 },
      'camera is not trusted and reaches whole granules of 4096 bytes, and the rest of this granule belongs to others',
    ],
  ])('%o', (changes, why) => {
    const { pool } = makeRig();
    const wanted = request({ ...camera, ...changes });
    const slot = pool.map(wanted);
    const at = `0x${slot.address.toString(16)}`;
    const sentence = `The slot at ${at} ${start.replace('0x40000123', `0x${wanted.original.toString(16)}`)}${why}.`;
    expect(pool.explain(slot.address)).toBe(sentence);
    // From any byte of the slot, its padding, and of the buffer.
    for (const same of [FRAMES, FRAMES + 2047, wanted.original, wanted.original + 255]) {
      expect(pool.explain(same)).toBe(sentence);
    }
    for (const other of [FRAMES - 1, FRAMES + 4096, wanted.original - 1, wanted.original + 256]) {
      expect(pool.explain(other)).toBeUndefined();
    }
    pool.release(slot);
    expect(pool.explain(slot.address)).toBeUndefined();
  });

  test('a device that reaches nothing', () => {
    const { pool } = makeRig();
    expect(codeOf(() => pool.map(request({ limit: -1 })))).toBe('ENOMEM');
  });
});
