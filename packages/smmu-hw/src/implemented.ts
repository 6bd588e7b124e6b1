/** What a register keeps of a written word (R3). */
import { maskOf, type Register } from '@iommu-lab/machine';

/** Computed once: an instance asks for every register of every bank. */
const known = new WeakMap<Register, number>();

/** Bits of a register that exist: those of its fields, or all 32 of a register without fields. */
export function implementedBits(register: Register): number {
  let mask = known.get(register);
  if (mask === undefined) {
    const fields = Object.values(register.fields);
    mask = fields.length === 0 ? 0xffffffff : fields.reduce((sum, field) => (sum | maskOf(field)) >>> 0, 0);
    known.set(register, mask);
  }
  return mask;
}
