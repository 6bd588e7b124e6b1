import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { BUS_ERROR, physAddr } from '@iommu-lab/machine';
import { Guest, GuestCacheMaintenance, GuestMemory, MemorySlots } from '../src/index.ts';
import { makeHost, MIB, withCode } from './host.ts';

const PAGE = 4096;

describe('memory slots', () => {
  test('take whole pages and do not overlap: EINVAL, EEXIST, with nothing taken from the host', () => {
    const host = makeHost();
    const free = host.frames.freeBytes;
    const guest = new Guest(host, { name: 'vm1' });
    guest.addMemorySlot(0x4000_0000, 4 * PAGE);
    for (const [base, sizeBytes] of [
      [0x5000_0001, PAGE],
      [0x5000_0000, PAGE + 1],
      [0x5000_0000, 0],
      [-PAGE, PAGE],
      [Number.NaN, PAGE],
    ] as const) {
      expect(() => guest.addMemorySlot(base, sizeBytes)).toThrow(withCode('EINVAL'));
    }
    for (const base of [0x3fff_f000, 0x4000_0000, 0x4000_3000]) {
      expect(() => guest.addMemorySlot(base, 2 * PAGE)).toThrow(withCode('EEXIST'));
    }
    expect(guest.pinnedBytes).toBe(4 * PAGE);
    expect(host.frames.freeBytes).toBe(free - 4 * PAGE);
  });

  test('lie scattered in the host', () => {
    const host = makeHost();
    const guest = new Guest(host, { name: 'vm1' });
    guest.addMemorySlot(0x4000_0000, 64 * PAGE);
    const pages = guest.memorySlots[0]!.hostPages;
    expect(new Set(pages).size).toBe(64);
    const neighbours = pages.filter((page, i) => i > 0 && page === (pages[i - 1] as number) + PAGE);
    expect(neighbours.length).toBeLessThan(8);
  });

  test('that the host has no memory for are refused whole: ENOMEM', () => {
    const host = makeHost();
    const free = host.frames.freeBytes;
    const guest = new Guest(host, { name: 'vm1' });
    expect(() => guest.addMemorySlot(0x4000_0000, 64 * MIB)).toThrow(withCode('ENOMEM'));
    expect(host.frames.freeBytes).toBe(free);
    expect(guest.memorySlots).toEqual([]);
  });

  test('are given back when they are removed; a slot that is none is ENOENT', () => {
    const host = makeHost();
    const free = host.frames.freeBytes;
    const guest = new Guest(host, { name: 'vm1' });
    guest.addMemorySlot(0x4000_0000, MIB);
    expect(() => guest.removeMemorySlot(0x4000_1000)).toThrow(withCode('ENOENT'));
    guest.removeMemorySlot(0x4000_0000);
    expect(host.frames.freeBytes).toBe(free);
    expect(guest.memory.read32(physAddr(0x4000_0000))).toBe(BUS_ERROR);
  });

  test('of larger host pages are contiguous in each page', () => {
    const host = makeHost();
    const free = host.frames.freeBytes;
    const guest = new Guest(host, { name: 'vm1', pageBytes: 65536 });
    expect(() => guest.addMemorySlot(0x4000_1000, 65536)).toThrow(withCode('EINVAL'));
    guest.addMemorySlot(0x4000_0000, 2 * 65536);
    expect(guest.memorySlots[0]!.hostPages.map((page) => page % 65536)).toEqual([0, 0]);
    guest.destroy();
    expect(host.frames.freeBytes).toBe(free);
  });

  test.each([0, 2048, 6000])('pages of %i bytes are none: EINVAL', (pageBytes) => {
    expect(() => new Guest(makeHost(), { name: 'vm1', pageBytes })).toThrow(withCode('EINVAL'));
  });

  test('what a guest left in the cache does not come down on the next owner of its pages', () => {
    const host = makeHost();
    const guest = new Guest(host, { name: 'vm1' });
    guest.addMemorySlot(0x4000_0000, PAGE);
    const page = guest.memorySlots[0]!.hostPages[0]!;
    guest.memory.write(physAddr(0x4000_0000), new Uint8Array(64).fill(0xaa));
    guest.removeMemorySlot(0x4000_0000);
    expect(host.cache.lineState(page)).not.toBe('dirty');
  });
});

describe('GuestMemory', () => {
  test('property: any reads and writes do what a flat array per slot does; a hole is a bus error and stores nothing', () => {
    const access = fc.record({
      address: fc.integer({ min: 0, max: 12 * PAGE }),
      length: fc.integer({ min: 1, max: 3 * PAGE }),
      isWrite: fc.boolean(),
      byte: fc.nat(255),
    });
    fc.assert(
      fc.property(fc.nat(100), fc.array(access, { maxLength: 30 }), (seed, accesses) => {
        const host = makeHost(seed);
        const guest = new Guest(host, { name: 'vm1' });
        // Slots: pages 1-3, 4-6 (adjacent) and 8-9.
        const isRam = (at: number): boolean =>
          (at >= PAGE && at < 7 * PAGE) || (at >= 8 * PAGE && at < 10 * PAGE);
        guest.addMemorySlot(8 * PAGE, 2 * PAGE);
        guest.addMemorySlot(PAGE, 3 * PAGE);
        guest.addMemorySlot(4 * PAGE, 3 * PAGE);
        const flat = new Uint8Array(16 * PAGE);
        for (const { address, length, isWrite, byte } of accesses) {
          let isWhole = true;
          for (let at = address; at < address + length; at++) isWhole &&= isRam(at);
          const bytes = new Uint8Array(length).fill(byte);
          const at = physAddr(address);
          const answer = isWrite ? guest.memory.write(at, bytes) : guest.memory.read(at, bytes);
          expect(answer).toBe(isWhole);
          if (!isWhole) continue;
          if (isWrite) flat.set(bytes, address);
          expect(Buffer.compare(bytes, flat.subarray(address, address + length))).toBe(0);
        }
        const all = new Uint8Array(6 * PAGE);
        guest.memory.read(physAddr(PAGE), all);
        expect(Buffer.compare(all, flat.subarray(PAGE, 7 * PAGE))).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  test('words go the same way', () => {
    const host = makeHost();
    const guest = new Guest(host, { name: 'vm1' });
    guest.addMemorySlot(0x4000_0000, PAGE);
    const at = physAddr(0x4000_0ffc);
    expect(guest.memory.write32(at, 0xdead_beef)).toBe(true);
    expect(guest.memory.read32(at)).toBe(0xdead_beef);
    expect(guest.memory.write32(physAddr(0x4000_1000), 1)).toBe(false);
    expect(guest.memory.read32(physAddr(0x4000_1000))).toBe(BUS_ERROR);
  });
});

describe('GuestCacheMaintenance', () => {
  test('acts on the host’s lines behind each page of the range, and passes holes over', () => {
    const slots = new MemorySlots();
    slots.add({
      base: 0x1000 as never,
      sizeBytes: 2 * PAGE,
      hostPages: [physAddr(0x9000), physAddr(0x5000)],
    });
    const calls: string[] = [];
    const note =
      (kind: string) =>
      (start: number, sizeBytes: number): void => {
        calls.push(`${kind} ${start.toString(16)}+${sizeBytes.toString(16)}`);
      };
    const maintenance = new GuestCacheMaintenance(slots, {
      lineBytes: 64,
      clean: note('clean'),
      invalidate: note('invalidate'),
      cleanInvalidate: note('both'),
    });
    expect(maintenance.lineBytes).toBe(64);
    maintenance.clean(physAddr(0x1f00), 0x200);
    maintenance.invalidate(physAddr(0x2f80), 0x1080);
    maintenance.cleanInvalidate(physAddr(0x0), 0x1010);
    expect(calls).toEqual(['clean 9f00+100', 'clean 5000+100', 'invalidate 5f80+80', 'both 9000+10']);
    expect(() => slots.add({ base: 0x8000 as never, sizeBytes: PAGE, hostPages: [] })).toThrow(
      withCode('EINVAL'),
    );
  });

  test('a clean makes what the guest’s CPU stored visible to a device that does not snoop', () => {
    const host = makeHost();
    const guest = new Guest(host, { name: 'vm1' });
    guest.addMemorySlot(0x4000_0000, 2 * PAGE);
    const uncached = new GuestMemory(slotsOf(guest), host.uncached);
    const bytes = new Uint8Array(PAGE).fill(0x55);
    const at = physAddr(0x4000_0800);
    guest.memory.write(at, bytes);
    guest.maintenance.clean(at, PAGE);
    const seen = new Uint8Array(PAGE);
    uncached.read(at, seen);
    expect(seen).toEqual(bytes);
  });
});

function slotsOf(guest: Guest): MemorySlots {
  const slots = new MemorySlots();
  for (const slot of guest.memorySlots) slots.add(slot);
  return slots;
}
