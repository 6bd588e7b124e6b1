/** The V2P operations: translation on request of software, answered in PAR (R7 to R17). */
import { encode, extract, type Register } from '@iommu-lab/machine';
import {
  INNER_SHAREABLE,
  MEMORY_TYPE_SHIFT,
  NS_DESCRIPTOR,
  PRIVILEGED_READ,
  PRIVILEGED_WRITE,
  SHAREABLE,
  SIZE_SHIFT,
  SIZE_SUPERSECTION,
  USER_READ,
  USER_WRITE,
} from './attributes.ts';
import type { ContextBank } from './context-bank.ts';
import type { Readings } from './readings.ts';
import { PAR, V2PPR, V2PPW, V2PSR, V2PUR, V2PUW } from './regs/index.ts';
import { NO_ENTRY, vmidTag, type Tlb } from './tlb.ts';
import type { TranslationOutput } from './translated.ts';
import { refusalOf, type Translator } from './translate.ts';
import { FAULT_PERMISSION, FAULT_TLB_MISS, FAULT_TRANSLATION, NO_FAULT } from './walk.ts';

const FAULT = 1;

/** The trigger registers and the right each asks for (R16). */
export const PROBES: readonly {
  readonly register: Register;
  readonly right: number;
}[] = [
  { register: V2PPR, right: PRIVILEGED_READ },
  { register: V2PPW, right: PRIVILEGED_WRITE },
  { register: V2PUR, right: USER_READ },
  { register: V2PUW, right: USER_WRITE },
];

/**
 * Carries out a V2P operation with data word `request`. Only PAR, V2PSR and the TLB change, whatever comes out (R14).
 * A bank that does not translate answers with the address itself (fixed choice).
 * @returns NO_FAULT or the FSR bits of the failure
 */
export function probeAddress(
  tlb: Tlb,
  translator: Translator,
  bank: ContextBank,
  right: number,
  request: number,
  readings: Readings,
): number {
  const { registers } = bank;
  const page = (request & 0xfffff000) >>> 0;
  if (!bank.isEnabled) {
    registers.set(PAR, page);
    registers.set(V2PSR, 0);
    return NO_FAULT;
  }
  const tag = bank.tag | vmidTag(bank.vmid);
  const hit = tlb.lookup(tag, page);
  registers.set(V2PSR, encode(V2PSR, hit < 0 ? {} : { HIT: 1, INDEX: hit }));
  const found = translator.probe(bank, tag, page);
  const { output } = translator;
  const fault = asRead(found === NO_FAULT ? refusalOf(output.attributes, right, false) : found, readings);
  registers.set(PAR, fault === NO_FAULT ? success(output) : fault | FAULT);
  const index = extract(request, V2PPR.fields.INDEX);
  if (fault === NO_FAULT && bank.lock.loads && index < tlb.entries) translator.lock(bank, tag, page, index);
  else if (found === NO_FAULT && hit === NO_ENTRY) translator.load(bank, tag, page);
  return fault;
}

/** The outcome of a translation in the chosen readings. */
function asRead(fault: number, { probeRights, probeMissStatus }: Readings): number {
  if ((fault & FAULT_PERMISSION) !== 0 && probeRights === 'unchecked') return NO_FAULT;
  if (fault === FAULT_TLB_MISS && probeMissStatus === 'translation') return FAULT_TRANSLATION;
  return fault;
}

function success({ address, attributes }: TranslationOutput): number {
  const isSuper = ((attributes >>> SIZE_SHIFT) & 3) === SIZE_SUPERSECTION;
  const isInner = (attributes & INNER_SHAREABLE) !== 0;
  const word = encode(PAR, {
    NOFAULT_SS: isSuper ? 1 : 0,
    NOFAULT_MT: (attributes >>> MEMORY_TYPE_SHIFT) & 7,
    NOFAULT_SH: (attributes & SHAREABLE) === 0 ? 0 : 1,
    NOFAULT_NS: (attributes & NS_DESCRIPTOR) === 0 ? 0 : 1,
    NOFAULT_NOS: isInner ? 1 : 0,
    PA: extract(address, PAR.fields.PA),
  });
  // Of a supersection only PA[31:24] is valid (R12).
  return isSuper ? (word & 0xff000fff) >>> 0 : word;
}
