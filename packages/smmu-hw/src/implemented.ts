/** What a register keeps of a written word (R3). */
import { maskOf, type Register, type RegisterFile } from '@iommu-lab/machine';

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

/** Hangs an effect on a register; what is kept of the written word is limited to the implemented bits. */
export function onWrite(file: RegisterFile, register: Register, afterWrite?: (value: number) => void): void {
  const mask = register.access === 'rw' ? implementedBits(register) : 0xffffffff;
  const beforeWrite = (value: number): number => (value & mask) >>> 0;
  file.on(register, afterWrite === undefined ? { beforeWrite } : { beforeWrite, afterWrite });
}
