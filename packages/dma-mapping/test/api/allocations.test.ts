/** The life of allocated memory: whose it is when, and that all of it comes back. */
import { describe, expect, test } from '@jest/globals';
import type { Iova } from '@iommu-lab/machine';
import type { DmaOps, DmaSegment } from '../../src/index.ts';
import { codeOf } from '../support/code-of.ts';
import { ARENA, ARENA_BYTES, type DeviceSetup, filled, Machine, PAGE, pattern } from './fixture.ts';

const FRAMES = ARENA + ARENA_BYTES;

/** A machine whose free memory holds an earlier user's bytes, in memory and in dirty lines. */
function usedMachine(): Machine {
  const machine = new Machine({ restless: true });
  machine.memory.write(FRAMES as typeof ARENA, filled(ARENA_BYTES, 0xee));
  for (let at = 0; at < 32 * PAGE; at += 512) machine.cpuWrite(FRAMES + at, filled(64, 0xdd));
  return machine;
}

const setups: readonly (DeviceSetup & { readonly name: string })[] = [
  { name: 'direct', behind: 'direct' },
  { name: 'direct, snooping', behind: 'direct', isCoherent: true },
  { name: 'behind an IOMMU' },
  { name: 'behind an IOMMU, snooping', isCoherent: true },
];

describe.each(setups)('$name', (setup) => {
  test('noncoherent memory: zeroed for the CPU first, for the device from the first sync on', () => {
    const machine = usedMachine();
    const { dma, read } = machine.add('rot', setup);
    const size = 2 * PAGE + 100;
    const buffer = dma.allocNoncoherent(size, 'bidirectional');
    expect([buffer.sizeBytes, buffer.direction, dma.mappedBytes]).toEqual([size, 'bidirectional', size]);
    expect(machine.cpuRead(buffer.address, size)).toEqual(filled(size, 0));
    dma.syncSingleForDevice(buffer.dmaAddress, size, 'bidirectional');
    expect(read(buffer.dmaAddress, size)).toEqual(filled(size, 0));
  });

  test('noncoherent memory changes hands by syncs, part by part, across frames', () => {
    const machine = usedMachine();
    const { dma, read, write } = machine.add('rot', setup);
    const buffer = dma.allocNoncoherent(3 * PAGE, 'bidirectional');
    const at = PAGE - 64;
    const part = (buffer.dmaAddress + at) as Iova;
    for (let round = 1; round < 20; round++) {
      machine.cpuWrite(buffer.address + at, pattern(128, round));
      dma.syncSingleForDevice(part, 128, 'bidirectional');
      expect(read(part, 128)).toEqual(pattern(128, round));
      expect(write(part, pattern(128, round + 100))).toBe(true);
      dma.syncSingleForCpu(part, 128, 'bidirectional');
      expect(machine.cpuRead(buffer.address + at, 128)).toEqual(pattern(128, round + 100));
    }
  });

  test('noncontiguous memory: one segment for the device, its pieces for the CPU, syncs by its table', () => {
    const machine = usedMachine();
    const { dma, read, write } = machine.add('rot', setup);
    const buffer = dma.allocNoncontiguous(5 * PAGE, 'bidirectional');
    const { entries, segments } = buffer.table;
    expect(segments).toEqual([{ address: buffer.dmaAddress, length: 5 * PAGE }]);
    expect(entries.reduce((sum, { length }) => sum + length, 0)).toBe(5 * PAGE);
    let at = 0;
    for (const { address, length } of entries) {
      expect(machine.cpuRead(address, length)).toEqual(filled(length, 0));
      machine.cpuWrite(address, pattern(length, at));
      at += length;
    }
    dma.syncSgTableForDevice(buffer.table, 'bidirectional');
    at = 0;
    for (const { length } of entries) {
      expect(read(buffer.dmaAddress + at, length)).toEqual(pattern(length, at));
      at += length;
    }
    expect(write(buffer.dmaAddress, pattern(5 * PAGE, 77))).toBe(true);
    dma.syncSgTableForCpu(buffer.table, 'bidirectional');
    const seen = entries.map(({ address, length }) => machine.cpuRead(address, length));
    expect(Buffer.concat(seen).equals(pattern(5 * PAGE, 77))).toBe(true);
  });

  test('freed: by its own call, once; frames and IOVA space are back, and the device is out where there is an IOMMU', () => {
    const machine = usedMachine();
    const { dma, device, read } = machine.add('rot', setup);
    const free = machine.frames.freeBytes;
    const coherent = dma.allocCoherent(100);
    const noncoherent = dma.allocNoncoherent(100, 'to-device');
    const noncontiguous = dma.allocNoncontiguous(2 * PAGE, 'to-device');
    expect(free - machine.frames.freeBytes).toBe(4 * PAGE);
    const wrong = dma as unknown as Record<
      'freeCoherent' | 'freeNoncoherent' | 'freeNoncontiguous',
      (b: unknown) => void
    >;
    for (const run of [
      () => wrong.freeCoherent(noncoherent),
      () => wrong.freeNoncoherent(coherent),
      () => wrong.freeNoncoherent(noncontiguous),
      () => wrong.freeNoncontiguous(noncoherent),
      () => wrong.freeNoncoherent({ ...noncoherent }),
      () => dma.unmapSingle(noncoherent.dmaAddress, 100, 'to-device'),
      () => dma.unmapSg(noncontiguous.table.segments, 'to-device'),
      () => dma.unmapSgTable(noncontiguous.table, 'to-device'),
      () => dma.syncSingleForDevice(noncoherent.dmaAddress, 100, 'from-device'),
    ]) {
      expect(codeOf(run)).toBe('EINVAL');
    }
    dma.freeCoherent(coherent);
    dma.freeNoncoherent(noncoherent);
    dma.freeNoncontiguous(noncontiguous);
    expect(codeOf(() => dma.freeNoncoherent(noncoherent))).toBe('EINVAL');
    expect(codeOf(() => dma.freeNoncontiguous(noncontiguous))).toBe('EINVAL');
    expect([dma.mappedBytes, machine.frames.freeBytes]).toEqual([0, free]);
    if (setup.behind === 'direct') return;
    expect(machine.layer.iovaReport(device)?.allocatedBytes).toBe(0);
    expect([noncoherent, noncontiguous].map((buffer) => read(buffer.dmaAddress, 1))).toEqual([
      undefined,
      undefined,
    ]);
  });

  test('a buffer without kernel mapping is one all the same for the device', () => {
    const machine = new Machine();
    const { dma, read, write } = machine.add('rot', setup);
    const buffer = dma.allocCoherent(64, { noKernelMapping: true });
    for (const run of [
      () => buffer.read32(0),
      () => buffer.write32(0, 1),
      () => buffer.read(0, new Uint8Array(1)),
      () => buffer.write(0, new Uint8Array(1)),
    ]) {
      expect(codeOf(run)).toBe('EINVAL');
    }
    expect(read(buffer.dmaAddress, 64)).toEqual(filled(64, 0));
    expect(write(buffer.dmaAddress, filled(64, 4))).toBe(true);
    const [entry] = dma.getSgTable(buffer).entries;
    expect(machine.memoryAt(entry?.address ?? 0, setup.isCoherent === true ? 0 : 64)).toEqual(
      filled(setup.isCoherent === true ? 0 : 64, 4),
    );
    dma.freeCoherent(buffer);
  });

  test('getSgTable gives the pieces of any live buffer of this device, and it can be mapped for another', () => {
    const machine = new Machine();
    const { dma } = machine.add('rot', setup);
    const other = machine.add('other', { isCoherent: true });
    const buffers = [
      dma.allocCoherent(2 * PAGE + 1),
      dma.allocNoncoherent(2 * PAGE + 1, 'to-device'),
      dma.allocNoncontiguous(2 * PAGE + 1, 'to-device'),
    ];
    for (const buffer of buffers) {
      const table = dma.getSgTable(buffer);
      expect(table.segments).toEqual([]);
      expect(table.entries.reduce((sum, { length }) => sum + length, 0)).toBe(3 * PAGE);
      expect(codeOf(() => other.dma.getSgTable(buffer))).toBe('EINVAL');
      other.dma.mapSgTable(table, 'from-device');
      const [segment] = table.segments as [DmaSegment];
      expect(other.write(segment.address, pattern(64, 6))).toBe(true);
      other.dma.unmapSgTable(table, 'from-device');
    }
    const seen = new Uint8Array(64);
    (buffers[0] as ReturnType<DmaOps['allocCoherent']>).read(0, seen);
    expect(seen).toEqual(pattern(64, 6));
    dma.freeCoherent(buffers[0] as ReturnType<DmaOps['allocCoherent']>);
    expect(codeOf(() => dma.getSgTable(buffers[0] as (typeof buffers)[0]))).toBe('EINVAL');
  });
});
