/** Allocated memory never shows what was in its frames before: not to the device, not to the CPU, synced or not. */
import { describe, expect, test } from '@jest/globals';
import { type DeviceSetup, filled, HIGH, Machine, PAGE } from './fixture.ts';

const SIZE = 3 * PAGE;
/** Bytes that are not zero; undefined for what could not be read. */
const oldBytes = (bytes: Uint8Array | undefined) => bytes?.filter((byte) => byte !== 0).length;

const setups: readonly (DeviceSetup & { readonly name: string })[] = [
  { name: 'direct', behind: 'direct' },
  { name: 'direct, snooping', behind: 'direct', isCoherent: true },
  { name: 'behind an IOMMU' },
  { name: 'behind an IOMMU, snooping', isCoherent: true },
  { name: 'not trusted', isUntrusted: true },
];

/** Old contents in all frames: in memory, and in part also in the CPU's cache. */
function usedMachine(restless: boolean): Machine {
  const machine = new Machine({ restless });
  machine.memory.write(HIGH, filled(machine.frames.freeBytes, 0x5e));
  machine.cpuWrite(HIGH, filled(2 * PAGE, 0x5f));
  return machine;
}

describe.each(setups)('$name', (setup) => {
  test.each([false, true])('the device reads zeroes at once, unsynced (restless cache: %p)', (restless) => {
    const machine = usedMachine(restless);
    const { dma, read } = machine.add('rot', setup);
    for (let round = 0; round < 4; round++) {
      const addresses = [
        dma.allocCoherent(SIZE).dmaAddress,
        dma.allocNoncoherent(SIZE, 'bidirectional').dmaAddress,
        dma.allocNoncontiguous(SIZE, 'bidirectional').dmaAddress,
      ];
      expect(addresses.map((address) => oldBytes(read(address, SIZE)))).toEqual([0, 0, 0]);
    }
  });

  test.each(['from-device', 'bidirectional'] as const)(
    '%s: a device that writes nothing leaves the CPU zeroes after the syncs',
    (direction) => {
      const machine = usedMachine(false);
      const { dma } = machine.add('rot', setup);
      const noncoherent = dma.allocNoncoherent(SIZE, direction);
      dma.syncSingleForDevice(noncoherent.dmaAddress, SIZE, direction);
      dma.syncSingleForCpu(noncoherent.dmaAddress, SIZE, direction);
      expect(oldBytes(machine.cpuRead(noncoherent.address, SIZE))).toBe(0);
      const { table } = dma.allocNoncontiguous(SIZE, direction);
      dma.syncSgTableForDevice(table, direction);
      dma.syncSgTableForCpu(table, direction);
      const seen = table.entries.map(({ address, length }) => oldBytes(machine.cpuRead(address, length)));
      expect(seen).toEqual(table.entries.map(() => 0));
    },
  );
});
