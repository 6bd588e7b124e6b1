import { describe, expect, test } from '@jest/globals';
import { READ_WRITE, type IommuDomain } from '@iommu-lab/iommu-core';
import { isLabError } from '@iommu-lab/machine';
import { CONTEXT_REGISTERS, contextOffset, m2vcbrOffset } from '@iommu-lab/smmu-hw/regs';
import { PAGE_A, PAGE_B, System } from './fixture.ts';

/** What must be as before when an operation failed. */
function stateOf(system: System): unknown {
  const read = [0, 1].map((mid) => [0x1000, 0x2000].map((at) => system.dmaRead(system.rot, mid, at)));
  const readOther = system.dmaRead(system.mdp0, 0, 0x1000);
  system.world.clock.run(); // the faults of these accesses are served
  const registers: number[] = [];
  for (const smmu of [system.rot, system.mdp0]) {
    for (let bank = 0; bank < system.contextBanks; bank++) {
      for (const register of CONTEXT_REGISTERS) registers.push(smmu.read32(contextOffset(bank, register)));
    }
    for (let mid = 0; mid < 5; mid++) registers.push(smmu.read32(m2vcbrOffset(mid)));
  }
  return {
    registers,
    allocated: system.tables.allocatedBytes,
    clocksOn: system.clocksOn,
    read,
    readOther,
  };
}

interface Case {
  readonly name: string;
  readonly run: (system: System, domain: IommuDomain, other: IommuDomain) => void;
  /** Sites that must be among those that were made to fail. */
  readonly sites: readonly string[];
}

const CASES: readonly Case[] = [
  {
    name: 'attach',
    run: (system, _domain, other) => system.iommu.attach(other, system.devices.dst),
    sites: ['backend-msm.asid', 'msm-bus.clock-enable'],
  },
  {
    name: 'attach on a second instance',
    run: (system, domain) => system.iommu.attach(domain, system.devices.vg),
    sites: ['backend-msm.asid', 'msm-bus.clock-enable'],
  },
  {
    name: 'switch',
    run: (system, _domain, other) => system.iommu.replace(other, system.devices.src),
    sites: ['backend-msm.asid'],
  },
  {
    name: 'identity from blocked',
    run: (system) => system.iommu.attach(system.iommu.identityDomain, system.devices.dst),
    sites: ['msm-bus.clock-enable'],
  },
  {
    name: 'map',
    run: (_system, domain) => domain.map(0x10000000, PAGE_B, 0x1000, READ_WRITE),
    sites: ['page-table.table'],
  },
];

/** In place, and through a spare bank. */
const SWEEPS = [2, 3].flatMap((contextBanks) => CASES.map((each) => ({ ...each, contextBanks })));

describe('when the nth step fails', () => {
  test.each(SWEEPS)('of $name, with $contextBanks banks, everything is as before', (sweep) => {
    const { run, sites, contextBanks } = sweep;
    const hit = new Set<string>();
    for (let n = 1; ; n++) {
      const system = new System({ contextBanks, config: { stallFaults: false } });
      const domain = system.mapped(system.devices.src, 'd', 0x1000, PAGE_A);
      const other = system.iommu.allocPagingDomain(system.devices.dst, 'other');
      other.map(0x2000, PAGE_B, 0x1000, READ_WRITE);
      const before = stateOf(system);
      system.world.failpoints.failNth(n);
      let thrown: unknown;
      try {
        run(system, domain, other);
      } catch (error) {
        thrown = error;
      }
      const hasFired = system.world.failpoints.hasFired;
      for (const site of system.world.failpoints.hits().keys()) hit.add(site);
      system.world.failpoints.reset();
      expect(isLabError(thrown)).toBe(hasFired);
      if (!hasFired) break;
      expect(stateOf(system)).toEqual(before);
      run(system, domain, other);
    }
    for (const site of sites) expect([...hit]).toContain(site);
  });

  test('of probing an instance, nothing is left: no clock, no table, no interrupt', () => {
    for (let n = 1; ; n++) {
      const system = new System({ withoutDriver: true });
      const before = system.tables.allocatedBytes;
      system.world.failpoints.failNth(n);
      const device = system.bus.device('msm_iommu.rot');
      let thrown: unknown;
      try {
        system.bus.bind(device, system.driver);
      } catch (error) {
        thrown = error;
      }
      const { hasFired } = system.world.failpoints;
      system.world.failpoints.reset();
      expect(isLabError(thrown)).toBe(hasFired);
      expect(system.clocksOn).toBe(0);
      if (!hasFired) break;
      expect(system.tables.allocatedBytes).toBe(before);
      expect(system.driver.instances).toEqual([]);
      system.bus.bind(device, system.driver);
      expect(system.driver.instances).toHaveLength(1);
    }
  });
});

describe('what must not fail', () => {
  test('unmap and release: what they need runs since the attach, so no step of theirs can fail', () => {
    const system = new System({ config: { stallFaults: false } });
    const { src } = system.devices;
    const domain = system.mapped(src, 'd', 0x1000, PAGE_A);
    domain.map(0x2000, PAGE_B, 0x1000, READ_WRITE);
    for (const at of [0x1000, 0x2000]) system.dmaRead(system.rot, 0, at);
    system.world.failpoints.reset();
    domain.unmap(0x1000, 0x1000);
    expect(system.dmaRead(system.rot, 0, 0x1000)).toBe('faulted');
    expect(system.dmaRead(system.rot, 0, 0x2000)).toBe(0);
    system.bus.unbind(src);
    expect(system.dmaRead(system.rot, 0, 0x2000)).toBe('faulted');
    expect([...system.world.failpoints.hits().keys()]).toEqual([]);
    expect(system.clocksOn).toBe(0);
  });

  test('an end of a stall in a blocked bank whose clock does not start: it is reported', () => {
    const system = new System();
    const events: string[] = [];
    system.world.events.subscribe((event) => events.push(event.name));
    system.iommu.onFault(() => 'hold');
    const transfer = system.master(system.rot, 0).read(0x1000, new Uint8Array(4));
    system.world.clock.run();
    expect(transfer.state).toBe('pending');
    system.world.failpoints.failNth(1, 'msm-bus.clock-enable');
    system.bus.unbind(system.devices.src);
    expect(events).toContain('msm_iommu:hardware_unreachable');
  });

  test('an interrupt whose clock does not start for long is switched off; its fault is served when somebody asks', () => {
    const system = new System();
    const events: string[] = [];
    let isBroken = true;
    system.world.events.subscribe(({ name }) => {
      events.push(name);
      if (isBroken && name === 'msm_iommu:hardware_unreachable') {
        system.world.failpoints.failNth(1, 'msm-bus.clock-enable');
      }
    });
    const transfer = system.master(system.rot, 0).read(0x1000, new Uint8Array(4));
    system.world.failpoints.failNth(1, 'msm-bus.clock-enable');
    system.world.clock.run();
    expect(events.filter((name) => name === 'irq:nobody_cared')).toHaveLength(1);
    expect([transfer.state, system.iommu.faults.length]).toEqual(['pending', 0]);
    isBroken = false;
    system.world.failpoints.reset();
    expect(system.instance('rot').serviceFaults()).toBe(true);
    system.world.clock.run();
    expect([transfer.state, system.iommu.faults.length]).toEqual(['faulted', 1]);
  });

  test('an interrupt whose clock does not start: the fault is served at the next round', () => {
    const system = new System();
    system.dmaRead(system.rot, 0, 0x1000);
    system.world.failpoints.failNth(1, 'msm-bus.clock-enable');
    system.world.clock.run();
    expect(system.iommu.faults).toHaveLength(1);
    expect(system.interrupts.count(91)).toBe(2);
  });
});
