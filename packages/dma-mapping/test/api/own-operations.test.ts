/** A bus's own way to memory, and operations that somebody puts in place of others: the driver never knows. */
import { describe, expect, test } from '@jest/globals';
import { Device } from '@iommu-lab/driver-core';
import { hex, type Iova, type PhysAddr, physAddr } from '@iommu-lab/machine';
import { DmaLayer, type DmaOps, type DmaPath, getDmaOps, replaceDmaOps } from '../../src/index.ts';
import { codeOf } from '../support/code-of.ts';
import { ARENA, type Attached, Machine, PAGE, pattern } from './fixture.ts';

const OFFSET = 0x1000_0000;

/** A bus that adds a constant: what a driver of a 2010 platform would have written as its own dma_map_ops. */
function offsetPath(machine: Machine, log: string[]): DmaPath {
  return {
    kind: 'offset',
    smallestMask: PAGE - 1,
    requiredMask: 0xffffffff,
    isAddressingLimited: false,
    maxMappingSize: Number.MAX_SAFE_INTEGER,
    optMappingSize: 8 * PAGE,
    mergeBoundary: 0,
    map: (entries) => {
      log.push(`map ${entries.length}`);
      const pieces = entries.map((entry) => ({ iova: (entry.address + OFFSET) as Iova, ...entry }));
      const segments = pieces.map(({ iova, length }) => ({ address: iova, length }));
      return { segments, pieces, range: { start: 0 as Iova, sizeBytes: 0 } };
    },
    unmap: (mapping) => {
      log.push(`unmap ${mapping.pieces.length}`);
    },
    allocateMemory: (sizeBytes) => [
      {
        address: machine.frames.allocateContiguous(sizeBytes, PAGE),
        length: Math.ceil(sizeBytes / PAGE) * PAGE,
      },
    ],
    freeMemory: (pieces) => {
      for (const { address, length } of pieces) machine.frames.free(address, length);
    },
    isStale: () => false,
  };
}

/** A driver. What it sees of the device must be the same on any bus. */
function driverRun(machine: Machine, { dma, read, write }: Attached): string[] {
  const seen: string[] = [];
  const note = (bytes: Uint8Array | undefined): unknown =>
    seen.push(bytes === undefined ? 'fault' : [...bytes].join());
  machine.cpuWrite(ARENA, pattern(16, 1));
  const single = dma.mapSingle(ARENA, 16, 'bidirectional');
  note(read(single, 16));
  write(single, pattern(16, 2));
  dma.syncSingleForCpu(single, 16, 'bidirectional');
  note(machine.cpuRead(ARENA, 16));
  seen.push(codeOf(() => dma.unmapSingle(single, 15, 'bidirectional')));
  dma.unmapSingle(single, 16, 'bidirectional');
  const list = [3, 1].map((page) => ({ address: physAddr(ARENA + page * PAGE + 8), length: 16 }));
  for (const { address } of list) machine.cpuWrite(address, pattern(16, address >> 12));
  const segments = dma.mapSg(list, 'to-device');
  for (const { address, length } of segments) note(read(address, length));
  dma.unmapSg(segments, 'to-device');
  const buffer = dma.allocCoherent(64);
  buffer.write32(8, 0x12345678);
  note(read(buffer.dmaAddress + 8, 4));
  dma.freeCoherent(buffer);
  seen.push(`${dma.mappedBytes}`);
  return seen;
}

describe('a bus with its own way', () => {
  test("each device has its bus's operations, side by side, and a driver does the same with any", () => {
    const machine = new Machine();
    const log: string[] = [];
    const own = new DmaLayer(machine.world, {
      frames: machine.frames,
      memory: machine.cache,
      maintenance: machine.cache,
      pathOf: ({ name }) => (name === 'odd' ? offsetPath(machine, log) : undefined),
    });
    const window = [{ busStart: ARENA + OFFSET, cpuStart: ARENA as number, sizeBytes: 0x100000 }];
    const plain = machine.add('plain', { behind: 'direct' });
    const odd = machine.add('odd', { behind: 'direct', dmaRanges: window }, own);
    const neighbour = machine.add('neighbour', { behind: 'direct' }, own);
    const rot = machine.add('rot');
    const devices = [plain, odd, neighbour, rot];
    expect(devices.map(({ dma }) => dma.kind)).toEqual(['direct', 'offset', 'direct', 'iommu']);
    const runs = devices.map((attached) => driverRun(machine, attached));
    expect(runs.map((run) => run.join('|'))).toEqual(runs.map(() => runs[0]?.join('|')));
    expect(log).toEqual(['map 1', 'unmap 1', 'map 2', 'unmap 2', 'map 1', 'unmap 1']);
    expect(odd.dma.mapSingle(ARENA, 8, 'to-device')).toBe(ARENA + OFFSET);
  });

  test('the two steps need a way that reserves: undefined, and the ordinary calls serve', () => {
    const machine = new Machine({ wiring: { pathOf: () => offsetPath(machine, []) } });
    const { dma, device } = machine.add('odd');
    expect([dma.tryAllocIova(ARENA, PAGE), dma.optMappingSize]).toEqual([undefined, 8 * PAGE]);
    expect(machine.layer.iovaReport(device)).toBeUndefined();
    const forged = { address: 0 as Iova, sizeBytes: PAGE };
    expect(codeOf(() => dma.linkIova(forged, ARENA, 0, PAGE, 'to-device'))).toBe('EINVAL');
    expect(codeOf(() => dma.freeIova(forged))).toBe('EINVAL');
  });

  test('its own way goes before the IOMMU, and what a driver leaves there is reported too', () => {
    const machine = new Machine({ wiring: { pathOf: () => offsetPath(machine, []) } });
    const odd = machine.add('odd', { isCoherent: true });
    expect(odd.dma.kind).toBe('offset');
    odd.dma.mapSingle(ARENA, 8, 'to-device');
    machine.remove(odd);
    expect(machine.events.find(({ name }) => name === 'dma:pending_at_release')?.fields).toMatchObject({
      count: 1,
      example: { dma_addr: hex(ARENA + OFFSET) },
    });
  });
});

describe('replaceDmaOps', () => {
  /** Operations that count maps on their way to those there were. */
  function counting(present: DmaOps, count: { maps: number }): DmaOps {
    return new Proxy(present, {
      get(target, key) {
        const value: unknown = Reflect.get(target, key, target);
        if (typeof value !== 'function') return value;
        if (key !== 'mapSingle') return value.bind(target) as unknown;
        return (...args: Parameters<DmaOps['mapSingle']>) => {
          count.maps++;
          return target.mapSingle(...args);
        };
      },
    });
  }

  test('drivers that ask from now on get the new ones; put back, the old ones', () => {
    const machine = new Machine();
    const rot = machine.add('rot');
    const count = { maps: 0 };
    const restore = replaceDmaOps(rot.device, (present) => counting(present, count));
    expect(getDmaOps(rot.device)).not.toBe(rot.dma);
    const seen = driverRun(machine, { ...rot, dma: getDmaOps(rot.device) });
    expect(seen).toEqual(driverRun(machine, rot));
    expect(count.maps).toBe(1);
    restore();
    expect(getDmaOps(rot.device)).toBe(rot.dma);
  });

  test('EBUSY while something is mapped, whatever it is; nothing is replaced then', () => {
    const { dma, device } = new Machine().add('rot');
    const attempt = (): string =>
      codeOf(() =>
        replaceDmaOps(device, () => {
          throw new Error('not reached');
        }),
      );
    const single = dma.mapSingle(ARENA, 8, 'to-device');
    expect(attempt()).toBe('EBUSY');
    dma.unmapSingle(single, 8, 'to-device');
    const buffer = dma.allocCoherent(8);
    expect(attempt()).toBe('EBUSY');
    dma.freeCoherent(buffer);
    expect(getDmaOps(device)).toBe(dma);
    replaceDmaOps(device, (present) => present);
  });

  test('replaced twice: the outer goes first; a restore that comes too late does nothing', () => {
    const { dma, device } = new Machine().add('rot');
    const first = { maps: 0 };
    const second = { maps: 0 };
    const restoreFirst = replaceDmaOps(device, (present) => counting(present, first));
    const restoreSecond = replaceDmaOps(device, (present) => counting(present, second));
    const top = getDmaOps(device);
    const address = top.mapSingle(ARENA as PhysAddr, 8, 'to-device');
    expect([first.maps, second.maps]).toEqual([1, 1]);
    expect(codeOf(restoreSecond)).toBe('EBUSY');
    top.unmapSingle(address, 8, 'to-device');
    restoreFirst();
    expect(getDmaOps(device)).toBe(top);
    restoreSecond();
    restoreFirst();
    expect(getDmaOps(device)).toBe(dma);
  });

  test('ENODEV without operations: never configured, or the driver is gone; a restore then does not bring them back', () => {
    expect(codeOf(() => replaceDmaOps(new Device('rot'), (present) => present))).toBe('ENODEV');
    const machine = new Machine();
    const rot = machine.add('rot');
    const restore = replaceDmaOps(rot.device, (present) => counting(present, { maps: 0 }));
    machine.remove(rot);
    restore();
    expect(codeOf(() => getDmaOps(rot.device))).toBe('ENODEV');
  });
});
