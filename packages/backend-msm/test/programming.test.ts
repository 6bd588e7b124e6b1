import { describe, expect, test } from '@jest/globals';
import { extract } from '@iommu-lab/machine';
import {
  ACTLR,
  BFBCR,
  CBACR,
  cbacrOffset,
  CONTEXTIDR,
  contextOffset,
  FAR,
  FSRRESTORE,
  m2vcbrOffset,
  NMRR,
  PAR,
  PRRR,
  SCTLR,
  TTBCR,
  TTBR0,
  TTBR1,
  CTX_TLBIALL,
  TLBFLPTER,
  TLBSLPTER,
  TLBLCKR,
  CR,
} from '@iommu-lab/smmu-hw/regs';
import { MSM_VENDOR } from '@iommu-lab/page-table';
import { ROT_BASE, System } from './fixture.ts';

const CR_RESET = 0x40;

/** What was written at probe between the fence and the sanity check: the reset. */
function resetTrace(system: System): { kind: string; offset: number; value: number }[] {
  const all = system.trace.filter((entry) => entry.base === ROT_BASE);
  const start = all.findIndex((entry) => entry.kind === 'read' && entry.offset === CR.offset);
  return all.slice(start, start + 15 + 53);
}

describe('reset', () => {
  test('of two banks takes 15 reads and 53 writes', () => {
    const trace = resetTrace(new System());
    expect(trace.filter((entry) => entry.kind === 'read')).toHaveLength(15);
    expect(trace.filter((entry) => entry.kind === 'write')).toHaveLength(53);
    expect(trace.at(-1)).toMatchObject({ kind: 'write', offset: contextOffset(1, CONTEXTIDR), value: 0 });
  });

  test('writes the global registers in the kernel order and leaves CR 0x40 (R5)', () => {
    const system = new System();
    const writes = resetTrace(system).filter((entry) => entry.kind === 'write');
    expect(writes.slice(0, 11).map((entry) => entry.offset)).toEqual([
      0xfff80, 0xfff80, 0xfff8c, 0xffe8c, 0xfff80, 0xffe8c, 0xffe8c, 0xffe00, 0xfff00, 0xffffc, 0xfff80,
    ]);
    expect(system.rot.read32(CR.offset)).toBe(CR_RESET);
  });

  test('writes each bank in the kernel order, after the bypass fields of the entry with its number (R57)', () => {
    const writes = resetTrace(new System()).filter((entry) => entry.kind === 'write');
    for (const bank of [0, 1]) {
      const part = writes.slice(11 + 21 * bank, 11 + 21 * (bank + 1));
      expect(part.slice(0, 5).map((entry) => entry.offset)).toEqual(Array(5).fill(m2vcbrOffset(bank)));
      expect(part.slice(5).map((entry) => [entry.offset, entry.value])).toEqual(
        [
          ...[ACTLR, SCTLR, FSRRESTORE, TTBR0, TTBR1, TTBCR, BFBCR, PAR, FAR],
          ...[CTX_TLBIALL, TLBFLPTER, TLBSLPTER, TLBLCKR, PRRR, NMRR, CONTEXTIDR],
        ].map((register) => [contextOffset(bank, register), 0]),
      );
    }
  });
});

describe('attach', () => {
  test('leaves the state of the manual: translation on, walks on a miss, faults held and told (R64)', () => {
    const system = new System();
    const domain = system.attached(system.devices.dst, 'd');
    domain.map(0x1000, 0x40010000, 0x1000, { read: true, write: true });
    const read = (register: Parameters<typeof contextOffset>[1]): number =>
      system.rot.read32(contextOffset(1, register));
    expect(read(SCTLR)).toBe(0x7);
    expect(read(ACTLR)).toBe(0x00037072);
    expect(read(TTBCR)).toBe(0);
    expect(read(TTBR1)).toBe(0);
    expect(read(TTBR0) % 0x4000).toBe(0);
    expect(read(PRRR)).toBe(0x800b8204);
    expect(read(NMRR)).toBe(0x40004000);
    expect(read(BFBCR)).toBe(0);
    expect(read(CONTEXTIDR)).toBe(1);
    expect(system.rot.read32(m2vcbrOffset(1))).toBe(0x00c00100);
    expect(system.rot.read32(cbacrOffset(1))).toBe(0);
  });

  test('with coherent walks sets the TTBR attributes 0x6A, with the vendor format SCTLR 3 and its remap', () => {
    const system = new System({ config: { coherentWalk: true, format: MSM_VENDOR } });
    system.attached(system.devices.src, 'd');
    expect(system.rot.read32(contextOffset(0, TTBR0)) % 0x4000).toBe(0x6a);
    expect(system.rot.read32(contextOffset(0, SCTLR))).toBe(0x3);
    expect(system.rot.read32(contextOffset(0, PRRR))).toBe(MSM_VENDOR.prrr);
    expect(system.rot.read32(contextOffset(0, NMRR))).toBe(MSM_VENDOR.nmrr);
  });

  test('on the non-secure line sets IRPTNDX 1, without stalling clears CFCFG', () => {
    const system = new System({ config: { interruptLine: 'non-secure', stallFaults: false } });
    expect(extract(system.rot.read32(cbacrOffset(0)), CBACR.fields.IRPTNDX)).toBe(1);
    expect(extract(system.rot.read32(contextOffset(0, ACTLR)), ACTLR.fields.CFCFG)).toBe(0);
  });

  test('gives each table an ASID of its own, one to all banks of a table, and frees it with the last', () => {
    const system = new System();
    const { src, dst } = system.devices;
    const first = system.attached(src, 'first');
    system.attached(dst, 'second');
    const asid = (bank: number): number => system.rot.read32(contextOffset(bank, CONTEXTIDR));
    expect([asid(0), asid(1)]).toEqual([1, 2]);
    system.iommu.replace(first, dst);
    expect([asid(0), asid(1)]).toEqual([1, 1]);
    system.attached(system.devices.vg, 'third');
    expect(system.mdp0.read32(contextOffset(0, CONTEXTIDR))).toBe(1);
    system.iommu.detach(first, dst);
    system.iommu.replace(system.iommu.allocPagingDomain(dst, 'fourth'), dst);
    expect(asid(1)).toBe(2);
  });

  test('refuses a table that finds no ASID left, and changes nothing (ENOSPC)', () => {
    const system = new System({ config: { lastAsid: 1 } });
    const { src, dst } = system.devices;
    system.attached(src, 'first');
    const before = [...Array(0x50 / 4).keys()].map((i) => system.rot.read32(0x1000 + i * 4));
    expect(() => system.attached(dst, 'second')).toThrow(expect.objectContaining({ code: 'ENOSPC' }));
    expect([...Array(0x50 / 4).keys()].map((i) => system.rot.read32(0x1000 + i * 4))).toEqual(before);
  });
});

describe('clocks (R55)', () => {
  test('run at every register access, while a bank is attached, and at no other time', () => {
    const system = new System();
    const { src } = system.devices;
    expect(system.clocksOn).toBe(0);
    const domain = system.mapped(src, 'd', 0x1000, 0x40010000);
    system.dmaRead(system.rot, 0, 0x9000);
    system.world.clock.run();
    domain.unmap(0x1000, 0x1000);
    expect(system.clocksOn).toBe(2);
    system.iommu.detach(domain, src);
    expect(system.trace.length).toBeGreaterThan(200);
    expect(system.trace.filter((entry) => !entry.isClocked)).toEqual([]);
    expect(system.clocksOn).toBe(0);
  });
});
