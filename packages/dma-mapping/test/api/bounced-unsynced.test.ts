/** Bounced maps with `skipCpuSync`: the caller does his own maintenance, and still nobody sees what an earlier user left. */
import { describe, expect, test } from '@jest/globals';
import { type PhysAddr, physAddr } from '@iommu-lab/machine';
import type { DmaDirection } from '../../src/index.ts';
import { ARENA, type Attached, filled, HIGH, LOW_FRAMES, Machine, PAGE } from './fixture.ts';

const POOL_BYTES = 1 << 18;
const SKIP = { skipCpuSync: true };

interface Way {
  readonly name: string;
  readonly isUntrusted: boolean;
  readonly isCoherent: boolean;
}

const ways: readonly Way[] = [false, true].flatMap((isUntrusted) =>
  [false, true].map((isCoherent) => ({
    name: `${isUntrusted ? 'edges of a device that is not trusted' : 'out of reach'}, snooping: ${isCoherent}`,
    isUntrusted,
    isCoherent,
  })),
);

/** Every slot of the pool has been another device's, and holds 0x5e in memory and in the cache. */
function usedPool({ isUntrusted, isCoherent }: Way): Attached & {
  readonly machine: Machine;
  readonly buffer: PhysAddr;
} {
  const machine = new Machine({ frames: LOW_FRAMES, bounceBytes: POOL_BYTES });
  const other = machine.add('other', { behind: 'direct', dmaMask: HIGH - 1 });
  machine.cpuWrite(HIGH, filled(POOL_BYTES, 0x5e));
  const half = POOL_BYTES / 2;
  const slots = [0, half].map((at) => other.dma.mapSingle(physAddr(HIGH + at), half, 'to-device'));
  expect(new Set(slots).size).toBe(2);
  for (const slot of slots) other.dma.unmapSingle(slot, half, 'to-device');
  const attached = isUntrusted
    ? machine.add('port', { isUntrusted, isCoherent })
    : machine.add('low', { behind: 'direct', dmaMask: HIGH - 1, isCoherent });
  // The pool has half of the arena, the buffer lies above all of it.
  const buffer = physAddr(HIGH + 0x60000 + 0x100);
  machine.cpuWrite(buffer - 0x100, filled(PAGE, 0x11));
  return { machine, buffer, ...attached };
}

describe.each(ways)('$name', (way) => {
  test.each<DmaDirection>(['to-device', 'from-device', 'bidirectional'])(
    '%s: the slot holds the bytes of the buffer',
    (direction) => {
      const { machine, dma, buffer } = usedPool(way);
      dma.mapSingle(buffer, 300, direction, SKIP);
      const slot = machine.bounce?.live()[0]?.address ?? ARENA;
      const seen = way.isCoherent ? machine.cpuRead(slot, 300) : machine.memoryAt(slot, 300);
      expect(seen).toEqual(filled(300, 0x11));
    },
  );

  test.each<DmaDirection>(['from-device', 'bidirectional'])(
    '%s: what the device leaves alone comes back as it was, synced late or never',
    (direction) => {
      for (const isSyncedLate of [false, true]) {
        const { machine, dma, buffer, write } = usedPool(way);
        const address = dma.mapSingle(buffer, 300, direction, SKIP);
        if (isSyncedLate) dma.syncSingleForDevice(address, 300, direction);
        expect(write(address, filled(4, 0x22))).toBe(true);
        dma.unmapSingle(address, 300, direction);
        const expected = filled(300, 0x11).fill(0x22, 0, 4);
        expect(machine.cpuRead(buffer, 300)).toEqual(expected);
      }
    },
  );
});

test('what the caller never writes there is EFAULT at the map, and no slot stays taken', () => {
  const machine = new Machine({ frames: LOW_FRAMES, bounceBytes: POOL_BYTES });
  const { dma } = machine.add('low', { behind: 'direct', dmaMask: HIGH - 1 });
  const nowhere = physAddr(0xa0000000);
  expect(() => dma.mapSingle(nowhere, 64, 'from-device', SKIP)).toThrow(
    expect.objectContaining({ code: 'EFAULT' }),
  );
  expect([machine.bounce?.occupancy.usedSlots, dma.mappedBytes]).toEqual([0, 0]);
});
