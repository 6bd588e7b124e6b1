/**
 * Registers as rows: name, offset, access kind, reset value, fields. A row is data; constants, types, dumps and
 * documents derive from it, and effects hang on a RegisterFile's hooks.
 */

/**
 * What a write does and a read returns.
 * `rw`: keeps what was written · `ro`: writes ignored · `wo`: a trigger, reads 0 · `w1c`: a written 1 clears the bit.
 */
export type AccessKind = 'rw' | 'ro' | 'wo' | 'w1c';

/** Bits of a register that mean something together. */
export interface Field {
  /** Position of the lowest bit, 0..31. */
  readonly shift: number;
  readonly width: number;
  readonly doc: string;
}

/** One row. */
export interface Register<FieldName extends string = string> {
  readonly name: string;
  /** Byte offset inside its block. */
  readonly offset: number;
  readonly access: AccessKind;
  readonly reset: number;
  readonly doc: string;
  readonly fields: Readonly<Record<FieldName, Field>>;
}

/** The field `[high:low]`. */
export function bits(high: number, low: number, doc: string): Field {
  return { shift: low, width: high - low + 1, doc };
}

/** The one-bit field at `position`. */
export function bit(position: number, doc: string): Field {
  return { shift: position, width: 1, doc };
}

/** A row of a 32-bit register. */
export function reg32<FieldName extends string = never>(
  name: string,
  offset: number,
  access: AccessKind,
  doc: string,
  fields: Readonly<Record<FieldName, Field>> = {} as Readonly<Record<FieldName, Field>>,
  reset = 0,
): Register<FieldName> {
  return { name, offset, access, reset, doc, fields };
}

/** The field's mask in place, unsigned. */
export function maskOf(field: Field): number {
  return ((field.width === 32 ? 0xffffffff : (1 << field.width) - 1) << field.shift) >>> 0;
}

/** The field's value in `word`. */
export function extract(word: number, field: Field): number {
  return (word & maskOf(field)) >>> field.shift;
}

/** `word` with the field set to `value` (cut to the field's width). */
export function insert(word: number, field: Field, value: number): number {
  const mask = maskOf(field);
  return ((word & ~mask) | ((value << field.shift) & mask)) >>> 0;
}

/** A word from field values; fields not named are 0. */
export function encode<FieldName extends string>(
  register: Register<FieldName>,
  values: Partial<Readonly<Record<NoInfer<FieldName>, number>>>,
): number {
  let word = 0;
  for (const name of Object.keys(values) as FieldName[]) {
    word = insert(word, register.fields[name], values[name] as number);
  }
  return word;
}

/** All fields of a register's word, by name. */
export function decode<FieldName extends string>(
  register: Register<FieldName>,
  word: number,
): Record<FieldName, number> {
  const values = {} as Record<FieldName, number>;
  for (const name of Object.keys(register.fields) as FieldName[]) {
    values[name] = extract(word, register.fields[name]);
  }
  return values;
}
