/**
 * Writes REGISTERS.md, laid out as Prettier wants it, from the register rows and the open points.
 * The same rows always give the same text.
 */
import { hex, type AccessKind, type Field, type Register } from '@iommu-lab/machine';
import { OPEN_POINTS, type OpenPoint } from '../../src/readings.ts';
import * as regs from '../../src/regs/index.ts';

/** What the letters at the end of a doc string mean. */
const EVIDENCE: Readonly<Record<string, string>> = {
  H: 'the public register header names it',
  D: 'what the Linux driver writes, reads or expects back',
  K: 'what the GPU driver does with it',
  A: 'the ARMv7 architecture',
  S: 'the same-named field of later ARM SMMUs, unconfirmed for this block',
  U: 'unknown: the meaning, or the part of it that is said to be chosen here, is not public',
};

const ACCESS: Readonly<Record<AccessKind, string>> = {
  rw: 'reads give what was written, within the bits that have a field',
  ro: 'writes are ignored',
  wo: 'a write triggers something; reads give 0',
  w1c: 'a written 1 clears its bit, a written 0 leaves it',
};

/** Registers whose content at power-on is not the row's reset value. */
const CONFIGURED: readonly Register[] = [regs.REV, regs.IDR];

/** Registers that are addressed alike. */
export interface Scope {
  readonly title: string;
  /** Where one of them stands, from the base of the window. */
  readonly address: (offset: string) => string;
  readonly count: string;
  readonly registers: readonly Register[];
}

/** Every register of the block, by the way it is addressed. */
export const SCOPES: readonly Scope[] = [
  {
    title: 'One for each context bank, in its page',
    address: (offset) => `bank x ${hexDigits(regs.BANK_BYTES, 4)} + ${offset}`,
    count: 'banks, 1 to 255: pages 0 to 254 of the window',
    registers: regs.CONTEXT_REGISTERS,
  },
  {
    title: 'One for each machine id',
    address: (offset) => `${offset} + machine id x 4`,
    count: 'streams, 1 to 512',
    registers: [regs.M2VCBR],
  },
  {
    title: 'One for each context bank, in the global page',
    address: (offset) => `${offset} + bank x 4`,
    count: 'banks',
    registers: [regs.CBACR],
  },
  {
    title: 'One for the instance',
    address: (offset) => offset,
    count: 'one',
    registers: regs.GLOBAL_REGISTERS,
  },
];

/** A doc string without its letters, and the letters. @throws Error when it has none, or one without a meaning. */
export function splitDoc(doc: string): { readonly meaning: string; readonly evidence: readonly string[] } {
  const [, meaning, letters] = /^(.+) \[(\w(?:,\w)*)\]$/.exec(doc) ?? [];
  const evidence = letters?.split(',') ?? [];
  if (meaning === undefined || !evidence.every((letter) => Object.hasOwn(EVIDENCE, letter))) {
    throw new Error(`a doc string does not end in letters of evidence: ${doc}`);
  }
  return { meaning, evidence };
}

/** The text of REGISTERS.md. */
export function registerReference(): string {
  const blocks = [
    '# Registers of the MSM SMMU',
    '<!-- Written by a script: change the rows, then run `pnpm --filter @iommu-lab/smmu-hw registers`. -->',
    'This file is generated from the rows in `src/regs` and from `OPEN_POINTS` in `src/readings.ts`, by\n' +
      '`pnpm --filter @iommu-lab/smmu-hw registers`; a test fails while it is not current. What the hardware does with the\n' +
      'registers is in [MANUAL.md](MANUAL.md), whose rules are cited here by number (R23).',
    ...howToRead(),
    ...addresses(),
    '## Overview',
    ...SCOPES.flatMap((scope) => overview(scope)),
    '## Register by register',
    ...SCOPES.flatMap(({ address, registers }) =>
      registers.flatMap((register) => description(register, address(offsetOf(register)))),
    ),
    ...otherAccesses(),
    ...openPoints(),
  ];
  return `${blocks.join('\n\n')}\n`;
}

function howToRead(): readonly string[] {
  return [
    '## How to read this',
    'Access kinds:',
    table(['Kind', 'Meaning'], Object.entries(ACCESS)),
    'Evidence, what the meaning of a register or field rests on. The position of every field is that of the public\n' +
      'register header, unless its row says where the header has it:',
    table(['Letter', 'Evidence'], Object.entries(EVIDENCE)),
    '“No effect here”: the field keeps what is written, and nothing else follows from it. “Open point”: the sources leave\n' +
      'it open, and a [named reading](#open-points) decides. “Fixed choice”: they leave it open, and the model has one answer.',
  ];
}

function addresses(): readonly string[] {
  const rows = SCOPES.map(({ title, address, count }) => [title, address('offset'), count]);
  return [
    '## Addresses',
    `An instance has a window of 1 MiB (${hexDigits(regs.WINDOW_BYTES, 6)} bytes). Its last page of 4 KiB, from 0xFF000, is the global page. All\n` +
      'registers are 32 bits wide and little-endian. Addresses are counted from the base of the window:',
    table(['Registers', 'Address', 'How many'], rows),
    `TTBR0 of bank 2 stands at ${hexDigits(regs.contextOffset(2, regs.TTBR0), 5)}, M2VCBR of machine id 5 at ${hexDigits(regs.m2vcbrOffset(5), 5)}, CBACR of bank 2 at ${hexDigits(regs.cbacrOffset(2), 5)}.`,
  ];
}

function overview({ title, address, registers }: Scope): readonly string[] {
  const rows = registers.map((register) => {
    const { meaning, evidence } = splitDoc(register.doc);
    const link = `[${register.name}](#${register.name.toLowerCase()})`;
    return [offsetOf(register), link, register.access, resetOf(register), meaning, evidence.join(', ')];
  });
  return [
    `### ${title}`,
    `At ${address('offset')}.`,
    table(['Offset', 'Name', 'Access', 'Power-on', 'Purpose', 'Evidence'], rows),
  ];
}

function description(register: Register, address: string): readonly string[] {
  const { meaning, evidence } = splitDoc(register.doc);
  const { name, access } = register;
  const fields = Object.entries<Field>(register.fields);
  return [
    `### ${name}`,
    `At ${address}, ${access}, at power-on ${resetOf(register)}. ${meaning} (${evidence.join(', ')})`,
    fields.length === 0
      ? `No fields${access === 'wo' ? '.' : ': all 32 bits are the value.'}`
      : table(['Bits', 'Name', 'Meaning', 'Evidence'], fieldRows(fields)),
  ];
}

/** Fields and the gaps between them, from bit 31 down. Fields of two layouts may overlap (PAR). */
function fieldRows(fields: readonly (readonly [string, Field])[]): readonly (readonly string[])[] {
  const topOf = ({ shift, width }: Field): number => shift + width - 1;
  const sorted = fields.toSorted(([, a], [, b]) => topOf(b) - topOf(a) || b.shift - a.shift);
  const rows: (readonly string[])[] = [];
  let next = 31; // the highest bit not told yet
  for (const [name, field] of sorted) {
    if (topOf(field) < next) rows.push(gap(next, topOf(field) + 1));
    const { meaning, evidence } = splitDoc(field.doc);
    rows.push([bitRange(topOf(field), field.shift), name, meaning, evidence.join(', ')]);
    next = Math.min(next, field.shift - 1);
  }
  if (next >= 0) rows.push(gap(next, 0));
  return rows;
}

function gap(high: number, low: number): readonly string[] {
  return [bitRange(high, low), '-', 'Reserved: reads 0, writes ignored.', ''];
}

function otherAccesses(): readonly string[] {
  return [
    '## Accesses that are not a register',
    'Nothing here raises an error or a fault, and nothing throws; all of it is a fixed choice.',
    table(
      ['Access', 'Read', 'Write'],
      [
        ['reserved bits of a register', '0', 'ignored'],
        ['an offset inside the window with no register', '0', 'ignored'],
        ['an offset that is no multiple of 4', '0', 'ignored'],
        ['a page or a CBACR of a bank that the instance does not have', '0', 'ignored'],
        ['an M2VCBR of a machine id that the instance does not have', '0', 'ignored'],
        ['an offset outside the window', '0', 'ignored'],
        ['a value that is not an unsigned word', '', 'taken modulo 2^32'],
      ],
    ),
    'The port has accesses of 32 bits and no others: an adapter in front of it has to answer those of other widths with a\n' +
      'bus error. The MMIO bus of `@iommu-lab/machine` answers what is unaligned, and what lies in no window, with EFAULT\n' +
      'before it gets here.',
  ];
}

function openPoints(): readonly string[] {
  const rows = Object.entries<OpenPoint>(OPEN_POINTS).map(([name, { question, rule, values, meanings }]) => {
    const readings = values.map((value, index) => `\`${value}\`: ${meanings[index]}`);
    return [`\`${name}\``, question, rule, readings.join('; ')];
  });
  return [
    '## Open points',
    'What the public sources leave open. `readings` of the configuration chooses; the first value is the default.',
    table(['Name', 'Question', 'Rule', 'Values'], rows),
  ];
}

function offsetOf({ offset }: Register): string {
  return hexDigits(offset, offset < regs.BANK_BYTES ? 3 : 5);
}

function resetOf(register: Register): string {
  return CONFIGURED.includes(register) ? 'by configuration' : hex(register.reset);
}

function hexDigits(value: number, digits: number): string {
  return `0x${value.toString(16).toUpperCase().padStart(digits, '0')}`;
}

function bitRange(high: number, low: number): string {
  return high === low ? `${low}` : `${high}:${low}`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((_, column) =>
    Math.max(3, ...[head, ...rows].map((row) => (row[column] ?? '').length)),
  );
  const line = (row: readonly string[]): string =>
    `| ${widths.map((width, column) => (row[column] ?? '').padEnd(width)).join(' | ')} |`;
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...rows.map((row) => line(row))].join(
    '\n',
  );
}
