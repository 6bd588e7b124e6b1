import { describe, expect, test } from '@jest/globals';
import { getDmaOps } from '@iommu-lab/dma-mapping';
import { physAddr } from '@iommu-lab/machine';
import { CopierDriver, ENDED } from './copier.ts';
import { makeGuest, makeHost } from './host.ts';

const PATTERN = Uint8Array.from({ length: 4096 }, (_, i) => (i * 7 + 1) & 0xff);

describe('a driver of the host in the guest, unchanged', () => {
  test.each([1, 2, 3, 4])(
    'copies guest memory by DMA, through cache and scattered host pages (seed %i)',
    (seed) => {
      const host = makeHost(seed);
      const guest = makeGuest(host);
      const driver = new CopierDriver();
      guest.kernel.bus.addDriver(driver);
      const device = guest.assign(host.bus.device('a0'));
      const [from, to] = [guest.kernel.frames.allocate(), guest.kernel.frames.allocate()];
      guest.memory.write(from, PATTERN);
      guest.memory.write(to, new Uint8Array(4096).fill(0xee));

      const unmap = driver.copy(device, from, to, 4096);
      host.world.clock.run();
      unmap();

      const copied = new Uint8Array(4096);
      guest.memory.read(to, copied);
      expect(copied).toEqual(PATTERN);
      expect(driver.stateOf(device)).toMatchObject({ interrupts: 1, hasFaulted: false });
      expect(host.copiers.get('a0')!.line.isHigh).toBe(false);
    },
  );

  test('and the same driver on the host, at the same time, with another device', () => {
    const host = makeHost();
    const guest = makeGuest(host);
    const onHost = new CopierDriver();
    const inGuest = new CopierDriver();
    guest.assign(host.bus.device('a0'));
    guest.kernel.bus.addDriver(inGuest);
    host.bus.addDriver(onHost);
    const [from, to] = [host.frames.allocate(), host.frames.allocate()];
    host.cached.write(from, PATTERN);
    const unmap = onHost.copy(host.bus.device('a1'), from, to, 4096);
    host.world.clock.run();
    unmap();
    const copied = new Uint8Array(4096);
    host.cached.read(to, copied);
    expect(copied).toEqual(PATTERN);
    expect(host.bus.device('a0').driver?.name).toBe('vm-passthrough vm1');
    expect(guest.kernel.bus.device('a0').driver?.name).toBe('copier-driver');
  });

  test('coherent memory of the guest is seen by guest CPU and device at all times', () => {
    const host = makeHost();
    const guest = makeGuest(host);
    const device = guest.assign(host.bus.device('a0'));
    guest.kernel.bus.bind(device, new CopierDriver());
    const ops = getDmaOps(device);
    const buffer = ops.allocCoherent(4096);
    const seen = new Uint8Array(4096);
    buffer.write(0, PATTERN);
    expect(host.copiers.get('a0')!.dmaRead(buffer.dmaAddress, seen)).toBe('done');
    expect(seen).toEqual(PATTERN);
    expect(host.copiers.get('a0')!.dma(buffer.dmaAddress, PATTERN.toReversed())).toBe('done');
    buffer.read(0, seen);
    expect(seen).toEqual(PATTERN.toReversed());
    ops.freeCoherent(buffer);
  });
});

describe('isolation', () => {
  test('a device of the guest reaches the guest’s memory and nothing else; the guest hears of the fault', () => {
    const host = makeHost();
    const guest = makeGuest(host);
    const driver = new CopierDriver();
    guest.kernel.bus.addDriver(driver);
    const device = guest.assign(host.bus.device('a0'));
    const secret = host.frames.allocate();
    host.memory.write(secret, PATTERN);
    const to = guest.kernel.frames.allocate();

    driver.start(device, secret, to, 4096);
    host.world.clock.run();

    expect(driver.stateOf(device)).toMatchObject({ interrupts: 1, hasFaulted: true });
    const faults = host.events.filter((e) => e.name === 'vm:device_fault');
    expect(faults.map((e) => [e.scope, e.fields])).toEqual([
      [
        'host/vm1',
        {
          device: 'a0',
          gpa: `0x${secret.toString(16)}`,
          direction: 'read',
          cause: 'translation',
          stream: 0,
        },
      ],
    ]);
  });

  test('two guests with the same guest-physical addresses have different memory', () => {
    const host = makeHost();
    const [one, two] = [makeGuest(host, 'vm1'), makeGuest(host, 'vm2')];
    one.assign(host.bus.device('a0'));
    two.assign(host.bus.device('a1'));
    const gpa = physAddr(0x4000_0000);
    expect(host.copiers.get('a0')!.dma(gpa, PATTERN)).toBe('done');
    const seen = new Uint8Array(4096);
    two.memory.read(gpa, seen);
    expect(seen).toEqual(new Uint8Array(4096));
    one.memory.read(gpa, seen);
    expect(seen).toEqual(PATTERN);
  });

  test('guest memory starts zeroed, whatever the host had in those pages', () => {
    const host = makeHost();
    const frames = Array.from({ length: 700 }, () => host.frames.allocate());
    for (const frame of frames) host.cached.write(frame, PATTERN);
    for (const frame of frames) host.frames.free(frame);
    const guest = makeGuest(host);
    const dirty = guest.memorySlots[0]!.hostPages.filter((page) => {
      const seen = new Uint8Array(4096);
      host.memory.read(page, seen);
      return seen.some((byte) => byte !== 0);
    });
    expect(dirty).toEqual([]);
  });
});

describe('registers', () => {
  test('every access of the guest traps and is counted; only windows of its devices answer', () => {
    const host = makeHost();
    const guest = makeGuest(host);
    guest.assign(host.bus.device('a0'));
    guest.mmio.write32(0x1000_0000, 5);
    expect(guest.mmio.read32(0x1000_0000)).toBe(5);
    expect(host.mmio.read32(0x1000_0000)).toBe(5);
    expect(guest.mmio.trapCount).toBe(2);
    const nothing = expect.objectContaining({ code: 'EFAULT' });
    expect(() => guest.mmio.read32(0x1000_1000)).toThrow(nothing);
    expect(() => guest.mmio.write32(0x1000_1000, 1)).toThrow(nothing);
    expect(() => guest.mmio.read32(0x0fff_fffc)).toThrow(nothing);
    guest.unassign(host.bus.device('a0'));
    expect(() => guest.mmio.read32(0x1000_0000)).toThrow(nothing);
    expect(guest.mmio.trapCount).toBe(2);
  });
});

describe('interrupts', () => {
  test('the host’s interrupt is masked until the guest’s end of interrupt; a level that stays high comes again', () => {
    const host = makeHost();
    const guest = makeGuest(host);
    const driver = new CopierDriver();
    guest.kernel.bus.addDriver(driver);
    const device = guest.assign(host.bus.device('a0'));
    const frame = guest.kernel.frames.allocate();
    // Three copies before the CPU looks; the driver acknowledges one a round.
    for (let i = 0; i < 3; i++) driver.start(device, frame, frame, 16);
    expect(host.copiers.get('a0')!.read32(ENDED)).toBe(3);
    host.world.clock.run();
    expect(driver.stateOf(device)?.interrupts).toBe(3);
    expect([host.interrupts.count(10), guest.interrupts.count(10)]).toEqual([3, 3]);
    expect(host.interrupts.isMasked(10)).toBe(false);
  });

  test('a guest that does not listen keeps the host’s interrupt masked, not the host busy', () => {
    const host = makeHost();
    const guest = makeGuest(host);
    guest.assign(host.bus.device('a0'));
    host.copiers.get('a0')!.line.raise();
    host.world.clock.run();
    expect(host.interrupts.count(10)).toBe(1);
    expect(host.interrupts.isMasked(10)).toBe(true);
    guest.unassign(host.bus.device('a0'));
    expect(host.interrupts.isMasked(10)).toBe(false);
  });

  test('a guest driver that never handles it: the storm ends in the guest, the host is not held up', () => {
    const host = makeHost();
    const guest = makeGuest(host);
    guest.assign(host.bus.device('a0'));
    guest.interrupts.request(10, 'deaf', () => false);
    host.copiers.get('a0')!.line.raise();
    host.world.clock.run();
    expect(host.events.filter((e) => e.name === 'irq:nobody_cared').map((e) => e.scope)).toEqual([
      'host/vm1',
    ]);
    guest.destroy();
    expect(host.interrupts.isMasked(10)).toBe(false);
  });
});

describe('repeatability', () => {
  test('the same seed gives the same events, another seed other host pages', () => {
    const run = (seed: number): string => {
      const host = makeHost(seed);
      const guest = makeGuest(host);
      const driver = new CopierDriver();
      guest.kernel.bus.addDriver(driver);
      const device = guest.assign(host.bus.device('a0'));
      driver.copy(device, guest.kernel.frames.allocate(), guest.kernel.frames.allocate(), 4096);
      host.world.clock.run();
      guest.destroy();
      return JSON.stringify(host.events);
    };
    expect(run(5)).toBe(run(5));
    expect(run(5)).not.toBe(run(6));
  });
});
