import { expect, test } from '@jest/globals';
import { getDmaOps } from '@iommu-lab/dma-mapping';
import { isLabError, type PhysAddr } from '@iommu-lab/machine';
import { createSystem, NicDriver, NicModel, type System } from '../../src/index.ts';

interface Rig {
  readonly system: System;
  readonly nic: NicModel;
  readonly sent: Uint8Array[];
  /** Buffers that the driver has. */
  readonly out: Set<PhysAddr>;
  readonly open: () => NicDriver;
}

function rig(): Rig {
  const system = createSystem();
  const { device, master } = system.addDevice('nic', { context: 'gfx2d1_2d1' });
  const sent: Uint8Array[] = [];
  const out = new Set<PhysAddr>();
  const nic = new NicModel(master, (packet) => sent.push(packet));
  const open = (): NicDriver =>
    new NicDriver(device, nic, {
      ringEntries: 4,
      bufferBytes: 256,
      allocateBuffer: () => {
        const buffer = system.frames.allocate();
        out.add(buffer);
        return buffer;
      },
      received: (buffer) => out.delete(buffer),
      sent: (buffer) => out.delete(buffer),
    });
  return { system, nic, sent, out, open };
}

test('a NIC that cannot be started leaves nothing mapped, whichever step fails', () => {
  const whole = rig();
  whole.system.world.failpoints.reset();
  whole.open();
  const steps = whole.system.world.failpoints.hits();
  let tried = 0;
  for (const [site, count] of steps) {
    for (let n = 1; n <= count; n++) {
      const { system, out, open } = rig();
      const device = system.bus.device('nic');
      system.world.failpoints.failNth(n, site);
      let failed = false;
      try {
        open();
      } catch (error) {
        if (!isLabError(error)) throw error;
        failed = true;
      }
      expect([site, n, failed]).toEqual([site, n, true]);
      expect([site, n, getDmaOps(device).mappedBytes, out.size]).toEqual([site, n, 0, 0]);
      system.expectNothingMapped();
      tried++;
    }
  }
  expect(tried).toBeGreaterThan(5);
});

test('a full transmit ring refuses, and has room again when the device is done', () => {
  const { system, sent, out, open } = rig();
  const driver = open();
  const send = (): boolean => {
    const buffer = system.frames.allocate();
    system.kernelMemory.cpu.write(buffer, Uint8Array.of(1, 2, 3, 4));
    out.add(buffer);
    const isTaken = driver.send(buffer, 4);
    if (!isTaken) out.delete(buffer);
    return isTaken;
  };
  expect([send(), send(), send(), send()]).toEqual([true, true, true, false]);
  driver.poll();
  expect(send()).toBe(true);
  expect(sent.map((packet) => [...packet])).toEqual(Array.from({ length: 4 }, () => [1, 2, 3, 4]));
  driver.close();
  expect(out.size).toBe(0);
  system.expectNothingMapped();
  system.expectNoFaults();
});

test('packets are dropped while no buffer is free, or when they are longer than one', () => {
  const { nic, open } = rig();
  const driver = open();
  const arrive = (bytes: number): boolean => nic.receive(new Uint8Array(bytes));
  expect([arrive(257), arrive(256), arrive(64), arrive(64), arrive(64)]).toEqual([
    false,
    true,
    true,
    true,
    false,
  ]);
  driver.poll();
  expect(arrive(64)).toBe(true);
  driver.close();
  expect(arrive(64)).toBe(false);
});
