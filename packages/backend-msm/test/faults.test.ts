import { describe, expect, test } from '@jest/globals';
import { READ_ONLY, READ_WRITE } from '@iommu-lab/iommu-core';
import { physAddr } from '@iommu-lab/machine';
import { contextOffset, ESR, FSR } from '@iommu-lab/smmu-hw/regs';
import { PAGE_A, System } from './fixture.ts';

const FSR_TF_SL = 0x10002;
const FSR_SS = 0x40000000;

describe('a fault is reported', () => {
  test('with context, stream, address, direction, cause and the registers it was read from', () => {
    const system = new System();
    const domain = system.attached(system.devices.dst, 'd');
    domain.map(0x8000, PAGE_A, 0x1000, READ_ONLY);
    expect(system.dmaWrite(system.rot, 1, 0x8010, 1)).toBe('pending');
    system.world.clock.run();
    const [fault] = system.iommu.faults;
    expect(fault).toMatchObject({
      device: 'dst',
      provider: 'rot',
      context: 'rot_dst',
      streamId: 1,
      iova: 0x8010,
      direction: 'write',
      cause: 'permission',
      isStalled: true,
      isMultiple: false,
      domain: 'd',
    });
    expect(Object.keys(fault?.registers ?? {})).toEqual(
      'FAR PAR FSR FSYNR0 FSYNR1 TTBR0 TTBR1 SCTLR ACTLR PRRR NMRR'.split(' '),
    );
    expect(fault?.registers).toMatchObject({ FAR: 0x8010, SCTLR: 7, ACTLR: 0x37072 });
  });

  test('as a translation fault where nothing is mapped, and the access is terminated unless somebody says otherwise', () => {
    const system = new System();
    system.mapped(system.devices.src, 'd', 0x1000, PAGE_A);
    const transfer = system.master(system.rot, 0).read(0x2000, new Uint8Array(4));
    expect(transfer.state).toBe('pending');
    system.world.clock.run();
    expect(transfer.state).toBe('faulted');
    expect(system.iommu.faults).toHaveLength(1);
    expect(system.iommu.faults[0]).toMatchObject({ cause: 'translation', direction: 'read' });
    expect((system.iommu.faults[0]?.registers['FSR'] ?? 0) >>> 0).toBe(FSR_TF_SL + FSR_SS);
    expect(system.rot.read32(contextOffset(0, FSR))).toBe(0);
    expect(system.world.clock.waits()).toEqual([]);
  });

  test('for every faulting bank in one pass of the handler (R53)', () => {
    const system = new System();
    system.attached(system.devices.src, 'one');
    system.attached(system.devices.dst, 'two');
    system.dmaRead(system.rot, 0, 0x1000);
    system.dmaRead(system.rot, 1, 0x2000);
    system.world.clock.run();
    expect(system.iommu.faults.map((fault) => fault.context)).toEqual(['rot_src', 'rot_dst']);
    expect(system.interrupts.count(91)).toBe(1);
  });

  test('with MULTI when more came before it was read; without stalling all are terminated at once', () => {
    const system = new System({ config: { stallFaults: false } });
    system.attached(system.devices.src, 'd');
    expect(system.dmaRead(system.rot, 0, 0x1000)).toBe('faulted');
    expect(system.dmaRead(system.rot, 0, 0x2000)).toBe('faulted');
    system.world.clock.run();
    expect(system.iommu.faults).toHaveLength(1);
    expect(system.iommu.faults[0]).toMatchObject({ iova: 0x1000, isMultiple: true, isStalled: false });
  });

  test('on the non-secure line as well', () => {
    const system = new System({ config: { interruptLine: 'non-secure' } });
    system.attached(system.devices.src, 'd');
    system.dmaRead(system.rot, 0, 0x1000);
    system.world.clock.run();
    expect(system.iommu.faults).toHaveLength(1);
    expect(system.interrupts.count(92)).toBe(1);
  });

  test('as a configuration fault when the stream is routed nowhere', () => {
    const system = new System();
    system.dmaRead(system.rot, 9, 0x3000);
    const instance = system.driver.instances.find(({ provider }) => provider === 'rot');
    expect(instance?.serviceFaults()).toBe(true);
    expect(system.iommu.faults[0]).toMatchObject({
      context: undefined,
      streamId: 9,
      iova: 0x3000,
      cause: 'configuration',
      isStalled: false,
    });
    expect(system.rot.read32(ESR.offset)).toBe(0);
    expect(instance?.serviceFaults()).toBe(false);
  });
});

describe('a stalled access', () => {
  test('goes on when the handler maps the page and says retry', () => {
    const system = new System();
    const domain = system.attached(system.devices.src, 'd');
    system.fill(PAGE_A + 4, 0x77);
    domain.setFaultHandler((fault) => {
      domain.map(fault.iova - (fault.iova % 0x1000), PAGE_A, 0x1000, READ_WRITE);
      return 'retry';
    });
    const word = new Uint8Array(4);
    const transfer = system.master(system.rot, 0).read(0x5004, word);
    system.world.clock.run();
    expect(transfer.state).toBe('done');
    expect(word[0]).toBe(0x77);
    expect(system.rot.read32(contextOffset(0, FSR))).toBe(0);
  });

  test('that is held stays, without an interrupt storm, until somebody resumes it', () => {
    for (const outcome of ['retry', 'terminate'] as const) {
      const system = new System();
      const domain = system.attached(system.devices.src, 'd');
      domain.setFaultHandler(() => 'hold');
      const transfer = system.master(system.rot, 0).read(0x5000, new Uint8Array(4));
      system.world.clock.run();
      expect(transfer.state).toBe('pending');
      expect(system.world.clock.waits()).toHaveLength(1);
      expect(system.interrupts.count(91)).toBe(1);
      domain.map(0x5000, PAGE_A, 0x1000, READ_WRITE);
      const instance = system.driver.instances[0];
      instance?.resume?.('rot_src', outcome);
      system.world.clock.run();
      expect(transfer.state).toBe(outcome === 'retry' ? 'done' : 'faulted');
      expect(() => instance?.resume?.('rot_src', outcome)).toThrow(
        expect.objectContaining({ code: 'EINVAL' }),
      );
    }
  });

  test.each(['identity', 'blocked', 'unbound'] as const)(
    'ends, and passes through nothing, when its stream becomes %s before the fault was served or while it is held',
    (next) => {
      for (const isHeld of [false, true]) {
        const system = new System();
        const { src } = system.devices;
        const domain = system.attached(src, 'd');
        domain.setFaultHandler(() => 'hold');
        // As a physical address it exists: identity would let the write through.
        const transfer = system.master(system.rot, 0).write(PAGE_A, new Uint8Array(0x2000).fill(0xbd));
        if (isHeld) system.world.clock.run();
        expect(transfer.state).toBe('pending');
        if (next === 'identity') system.iommu.replace(system.iommu.identityDomain, src);
        else if (next === 'blocked') system.iommu.replace(system.iommu.blockedDomain, src);
        else system.bus.unbind(src);
        system.world.clock.run();
        expect(transfer.state).toBe('faulted');
        expect(transfer.doneBytes).toBe(0);
        expect(system.memory.read32(physAddr(PAGE_A))).toBe(0);
        expect(system.world.clock.waits()).toEqual([]);
        expect(system.rot.read32(contextOffset(0, FSR))).toBe(0);
      }
    },
  );

  test('that is held is tried again by the table its stream is moved to, and ended when its device leaves', () => {
    for (const isMoved of [true, false]) {
      const system = new System();
      const { src } = system.devices;
      const domain = system.attached(src, 'd');
      domain.setFaultHandler(() => 'hold');
      const other = system.iommu.allocPagingDomain(src, 'other');
      other.map(0x5000, PAGE_A, 0x1000, READ_WRITE);
      const transfer = system.master(system.rot, 0).read(0x5000, new Uint8Array(4));
      system.world.clock.run();
      if (isMoved) system.iommu.replace(other, src);
      else system.bus.unbind(src);
      system.world.clock.run();
      expect(transfer.state).toBe(isMoved ? 'done' : 'faulted');
    }
  });
});
