/** What a register keeps of a written word (R3). */
import { maskOf, type Register } from '@iommu-lab/machine';

/** Bits of a register that exist: those of its fields, or all 32 of a register without fields. */
export function implementedBits(register: Register): number {
  const fields = Object.values(register.fields);
  if (fields.length === 0) return 0xffffffff;
  return fields.reduce((mask, field) => (mask | maskOf(field)) >>> 0, 0);
}
