import { describe, expect, test } from '@jest/globals';
import { READ_WRITE } from '@iommu-lab/iommu-core';
import { physAddr, type Transfer } from '@iommu-lab/machine';
import { contextOffset, FSR } from '@iommu-lab/smmu-hw/regs';
import { FakeProcess } from './fake-process.ts';
import { PAGE_A, PAGE_B, System } from './fixture.ts';

const AT = 0x10000;

/** A write of a mark by the rotator's source, which is left where it stands. */
function write(system: System, address: number): Transfer {
  return system.master(system.rot, 0).write(address, new Uint8Array(4).fill(0xbd));
}

function read(system: System, address: number): Transfer {
  return system.master(system.rot, 0).read(address, new Uint8Array(4));
}

function states(transfers: readonly Transfer[]): string[] {
  return transfers.map(({ state }) => state);
}

/** Nothing waits, and no bank has anything recorded. */
function expectQuiet(system: System): void {
  expect(system.world.clock.waits()).toEqual([]);
  for (let bank = 0; bank < system.contextBanks; bank++) {
    expect(system.rot.read32(contextOffset(bank, FSR))).toBe(0);
  }
}

describe.each([2, 3])('with %i banks, what waits in a context', (contextBanks) => {
  test.each(['not served', 'held', 'tried again'] as const)(
    'for a process never reaches the next one, nor what waits behind it (its fault is %s)',
    (fault) => {
      const system = new System({ contextBanks });
      const { src } = system.devices;
      const first = new FakeProcess(system, 'first');
      const second = new FakeProcess(system, 'second');
      second.map(AT, PAGE_A);
      second.map(AT + 0x1000, PAGE_B);
      if (fault === 'tried again') first.onDemand.set(AT, { address: PAGE_A + 0x8000, write: true });
      const bond = system.iommu.bindProcess(src, first);
      const transfers = [0, 0x1000].map((offset) => write(system, AT + offset));
      const wanted = fault === 'tried again' ? 'smmu:resume' : 'iommu:io_page_fault';
      let isThere = fault === 'not served';
      system.world.events.subscribe(({ name }) => (isThere ||= name === wanted));
      system.world.clock.runUntil(() => isThere);
      expect(states(transfers)).toEqual(['pending', 'pending']);
      bond.unbind();
      first.exit();
      system.iommu.bindProcess(src, second);
      system.world.clock.run();
      expect(states(transfers)).toEqual(['faulted', 'faulted']);
      for (const page of [PAGE_A, PAGE_B]) expect(system.memory.read32(physAddr(page))).toBe(0);
      expectQuiet(system);
      // And the next process is served as ever.
      const own = write(system, AT);
      system.world.clock.run();
      expect(own.state).toBe('done');
    },
  );

  test('ends with the last device of a blocked context', () => {
    const system = new System({ contextBanks });
    const { src } = system.devices;
    const transfers = [0, 0x1000].map((offset) => write(system, AT + offset));
    expect(states(transfers)).toEqual(['pending', 'pending']);
    system.bus.unbind(src);
    system.bus.bind(src, { name: 'next', matches: () => true, probe: () => {} });
    const domain = system.mapped(src, 'd', AT, PAGE_A);
    domain.map(AT + 0x1000, PAGE_B, 0x1000, READ_WRITE);
    system.world.clock.run();
    expect(states(transfers)).toEqual(['faulted', 'faulted']);
    expectQuiet(system);
  });

  test('is tried again by the table that its stream is moved to, though its fault was not served', () => {
    const system = new System({ contextBanks });
    const { src } = system.devices;
    system.attached(src, 'old');
    const next = system.iommu.allocPagingDomain(src, 'new');
    next.map(AT, PAGE_A, 0x2000, READ_WRITE);
    const transfers = [0, 0x1000].map((offset) => write(system, AT + offset));
    system.iommu.replace(next, src);
    system.world.clock.run();
    expect(states(transfers)).toEqual(['done', 'done']);
    expect(system.iommu.faults).toMatchObject([{ iova: AT, isStalled: false }]);
    expectQuiet(system);
  });

  test('is not judged by a record that is older: it is recorded afresh, and decided by its own address', () => {
    const system = new System({ contextBanks });
    const { src } = system.devices;
    system.attached(src, 'old');
    const next = system.iommu.allocPagingDomain(src, 'new');
    const earlier = read(system, 0x15000);
    system.iommu.replace(system.iommu.identityDomain, src);
    system.iommu.replace(next, src);
    const later = read(system, 0x10000);
    next.setFaultHandler(({ iova }) => {
      if (iova !== 0x10000) return 'terminate';
      next.map(iova, PAGE_A, 0x1000, READ_WRITE);
      return 'retry';
    });
    system.world.clock.run();
    expect(states([earlier, later])).toEqual(['faulted', 'done']);
    expect(system.iommu.faults.map(({ iova, isStalled }) => [iova, isStalled])).toEqual([
      [0x15000, false],
      [0x10000, true],
    ]);
    expectQuiet(system);
  });

  test('is brought in by its process though the bank still holds an older record', () => {
    const system = new System({ contextBanks });
    const { src } = system.devices;
    const old = system.attached(src, 'old');
    const earlier = read(system, 0x15000);
    system.iommu.detach(old, src);
    const process = new FakeProcess(system, 'app');
    process.onDemand.set(AT, { address: PAGE_A, write: true });
    const bond = system.iommu.bindProcess(src, process);
    const later = read(system, AT);
    system.world.clock.run();
    expect(states([earlier, later])).toEqual(['faulted', 'done']);
    expect(bond).toMatchObject({ pagedIn: 1, refused: 0 });
    expectQuiet(system);
  });

  test('for somebody’s decision is the new access, not the address of an older record', () => {
    const system = new System({ contextBanks });
    const { src } = system.devices;
    system.attached(src, 'old');
    const next = system.iommu.allocPagingDomain(src, 'new');
    next.setFaultHandler(() => 'hold');
    read(system, 0x15000);
    system.iommu.replace(system.iommu.identityDomain, src);
    system.iommu.replace(next, src);
    const later = read(system, 0x10000);
    system.world.clock.run();
    expect(later.state).toBe('pending');
    next.map(0x10000, PAGE_A, 0x1000, READ_WRITE);
    system.instance('rot').resume?.('rot_src', 'retry');
    system.world.clock.run();
    expect(later.state).toBe('done');
    expectQuiet(system);
  });

  test('is decided by the switch that a handler of another context makes, not by its own verdict', () => {
    for (const verdict of ['hold', 'terminate'] as const) {
      const system = new System({ contextBanks });
      const { src, dst } = system.devices;
      const next = system.iommu.allocPagingDomain(dst, 'next');
      next.map(AT, PAGE_A, 0x1000, READ_WRITE);
      for (const domain of [system.attached(dst, 'dst'), next]) domain.setFaultHandler(() => verdict);
      // Served first: its bank has the lower number.
      system.attached(src, 'src').setFaultHandler(() => {
        system.iommu.replace(next, dst);
        return 'terminate';
      });
      read(system, AT);
      const moved = system.master(system.rot, 1).read(AT, new Uint8Array(4));
      expect(moved.state).toBe('pending');
      system.world.clock.run();
      expect(moved.state).toBe('done');
      expect(() => system.instance('rot').resume?.('rot_dst', 'retry')).toThrow(
        expect.objectContaining({ code: 'EINVAL' }),
      );
      expectQuiet(system);
    }
  });

  test('stays ended when its own handler moves it within the bank and says hold', () => {
    const system = new System({ contextBanks });
    const { src } = system.devices;
    const next = system.iommu.allocPagingDomain(src, 'next');
    next.map(AT, PAGE_A, 0x1000, READ_WRITE);
    system.attached(src, 'old').setFaultHandler(() => {
      system.iommu.replace(next, src);
      return 'hold';
    });
    const moved = read(system, AT);
    system.world.clock.run();
    expect(moved.state).toBe('done');
    expect(() => system.instance('rot').resume?.('rot_src', 'retry')).toThrow(
      expect.objectContaining({ code: 'EINVAL' }),
    );
    expectQuiet(system);
  });

  test('since its own handler blocked the stream is an access of its own: told once, by its own address', () => {
    const system = new System({ contextBanks });
    const { src } = system.devices;
    const domain = system.attached(src, 'd');
    const transfers = [read(system, AT)];
    domain.setFaultHandler(() => {
      system.iommu.replace(system.iommu.blockedDomain, src);
      transfers.push(read(system, AT + 0x5000));
      return 'hold';
    });
    system.world.clock.run();
    expect(states(transfers)).toEqual(['faulted', 'faulted']);
    expect(system.iommu.faults.map(({ iova, cause, isStalled }) => [iova, cause, isStalled])).toEqual([
      [AT, 'translation', true],
      [AT + 0x5000, 'translation', true],
    ]);
    expectQuiet(system);
  });

  test('while the bank is closed between two processes is no fault of anybody', () => {
    for (let step = 0; step < 20; step++) {
      const system = new System({ contextBanks });
      const instance = system.instance('rot');
      const [from, to] = ['first', 'second'].map((name) => {
        const process = new FakeProcess(system, name);
        process.map(AT, PAGE_A);
        const table = instance.createProcessTable?.(process);
        if (table === undefined) throw new Error('no process table');
        return { kind: 'sva', table } as const;
      });
      if (from === undefined || to === undefined) throw new Error('no tables');
      const endpoint = { provider: 'rot', context: 'rot_src', streamIds: [0] };
      instance.attach(endpoint, from, { kind: 'blocked' });
      const transfers: Transfer[] = [];
      let steps = 0;
      const stop = system.world.interposer.observe(() => {
        if (steps++ === step) transfers.push(read(system, AT));
      });
      instance.attach(endpoint, to, from);
      stop();
      system.world.clock.run();
      expect(states(transfers)).toEqual(transfers.map(() => 'done'));
      expect(system.iommu.faults).toEqual([]);
      expectQuiet(system);
    }
  });
});
