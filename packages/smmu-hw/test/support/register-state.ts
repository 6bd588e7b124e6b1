/** What a bus read of the registers finds, all at once. */
import type { Register } from '@iommu-lab/machine';
import { regs, type Rig } from './rig.ts';

/** Everything that can be read: the banks, the global page, the routing entries. */
export function stateOf(rig: Rig): number[] {
  return [
    ...[0, 1, 2].flatMap((bank) => regs.CONTEXT_REGISTERS.map((register) => rig.get(bank, register))),
    ...regs.GLOBAL_REGISTERS.map((register) => rig.at(register.offset)),
    ...Array.from({ length: 32 }, (_, mid) => rig.at(regs.m2vcbrOffset(mid))),
    ...[0, 1, 2].map((bank) => rig.at(regs.cbacrOffset(bank))),
  ];
}

/** The rows among `registers` that keep what is written. */
export function readWrite(registers: readonly Register[]): readonly Register[] {
  return registers.filter((register) => register.access === 'rw');
}
