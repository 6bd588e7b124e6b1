import { describe, expect, test } from '@jest/globals';
import { LabError, physAddr } from '@iommu-lab/machine';
import { ARENA, ARENA_BYTES, filled, makeSystem, type SystemOptions } from './support/system.ts';

const PAGE = 4096;
const LIVELY = { evictOneIn: 2, speculateOneIn: 2 };

describe.each<SystemOptions>([
  { path: 'direct', cache: LIVELY },
  { path: 'iommu', cache: LIVELY },
  { path: 'direct', isCoherent: true, cache: LIVELY },
  { path: 'iommu', isCoherent: true, cache: LIVELY },
])('coherent memory ($path, coherent device: $isCoherent)', (options) => {
  /** A system whose free memory was used before: its last stores are still in the cache. */
  function usedSystem() {
    const system = makeSystem(options);
    for (let at = 0; at < ARENA_BYTES; at += 512)
      system.cpuWrite(ARENA + ARENA_BYTES + at, filled(512, 0xee));
    return system;
  }

  test('both sides see zeroes first', () => {
    const { dma, deviceRead } = usedSystem();
    const buffer = dma.allocCoherent(3 * PAGE + 100);
    const seen = new Uint8Array(3 * PAGE + 100).fill(1);
    buffer.read(0, seen);
    expect(seen).toEqual(filled(3 * PAGE + 100, 0));
    expect(deviceRead(buffer.dmaAddress, 3 * PAGE + 100)).toEqual(filled(3 * PAGE + 100, 0));
  });

  test('each side sees at once what the other wrote, across frames', () => {
    const { dma, deviceRead, deviceWrite, cpuRead } = usedSystem();
    const buffer = dma.allocCoherent(3 * PAGE);
    for (let round = 1; round < 60; round++) {
      const offset = round * 200;
      buffer.write(offset, filled(180, round));
      expect(deviceRead(buffer.dmaAddress + offset, 180)).toEqual(filled(180, round));
      deviceWrite(buffer.dmaAddress + offset, filled(180, round + 100));
      const seen = new Uint8Array(180);
      buffer.read(offset, seen);
      expect(seen).toEqual(filled(180, round + 100));
      cpuRead(ARENA, 64);
    }
    buffer.write32(8, 0xdeadbeef);
    expect(buffer.read32(8)).toBe(0xdeadbeef);
    expect(deviceRead(buffer.dmaAddress + 8, 4)).toEqual(Uint8Array.of(0xef, 0xbe, 0xad, 0xde));
  });

  test('freed, its frames are cached memory again without stale lines', () => {
    const { dma, deviceWrite, cpuRead, frames, memory } = usedSystem();
    const free = frames.freeBytes;
    const buffer = dma.allocCoherent(PAGE);
    deviceWrite(buffer.dmaAddress, filled(PAGE, 0x5a));
    dma.freeCoherent(buffer);
    expect(frames.freeBytes).toBe(free);
    expect(dma.mappedBytes).toBe(0);
    const starts = Array.from({ length: ARENA_BYTES / PAGE }, (_, i) =>
      physAddr(ARENA + ARENA_BYTES + i * PAGE),
    );
    const written = starts.filter((start) => {
      const held = new Uint8Array(PAGE);
      return memory.read(start, held) && held.every((byte) => byte === 0x5a);
    });
    for (const start of written) expect(cpuRead(start, PAGE)).toEqual(filled(PAGE, 0x5a));
  });

  test('accesses outside are refused', () => {
    const { dma } = makeSystem(options);
    const buffer = dma.allocCoherent(100);
    expect(buffer.sizeBytes).toBe(100);
    for (const offset of [-1, 97, 1.5, Number.NaN]) expect(() => buffer.read32(offset)).toThrow(LabError);
    expect(() => buffer.write(0, filled(101, 1))).toThrow(LabError);
    buffer.write(0, filled(100, 1));
  });

  test('a buffer is aligned to its size for the device', () => {
    const { dma } = makeSystem(options);
    dma.allocCoherent(PAGE);
    expect(dma.allocCoherent(3 * PAGE).dmaAddress % (4 * PAGE)).toBe(0);
  });
});

test('behind an IOMMU the frames need not be contiguous', () => {
  const { dma, device, iommu } = makeSystem();
  dma.allocCoherent(8 * PAGE);
  expect(iommu.defaultDomainOf(device)?.mappings().length).toBeGreaterThan(1);
});

test('a dirty line of the frames is not evicted over what the device wrote', () => {
  const system = makeSystem({ path: 'direct' });
  const probe = system.dma.allocCoherent(PAGE);
  const address = probe.dmaAddress;
  system.dma.freeCoherent(probe);
  system.cpuWrite(address, filled(128, 0xee));
  const buffer = system.dma.allocCoherent(PAGE);
  expect(buffer.dmaAddress).toBe(address);
  system.deviceWrite(address, filled(128, 9));
  system.cpuRead(ARENA + 0x8000, 8 * 32);
  const seen = new Uint8Array(128);
  buffer.read(0, seen);
  expect(seen).toEqual(filled(128, 9));
});

test('a stale line filled while the memory was shared is not hit after it was freed', () => {
  const system = makeSystem({ path: 'direct' });
  const buffer = system.dma.allocCoherent(PAGE);
  const address = buffer.dmaAddress;
  // What a speculative fill does.
  system.cpuRead(address, 128);
  buffer.write(0, filled(128, 9));
  system.dma.freeCoherent(buffer);
  expect(system.cpuRead(address, 128)).toEqual(filled(128, 9));
});
