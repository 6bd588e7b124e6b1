/** The V2P operations: translation on request of software, answered in PAR (R7 to R17). */
import { extract, insert, maskOf, type Register } from '@iommu-lab/machine';
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
import { vmidTag } from './tlb-key.ts';
import { NO_ENTRY, type Tlb } from './tlb.ts';
import type { TranslationOutput } from './translated.ts';
import { refusalOf, type Translator } from './translate.ts';
import { FAULT_PERMISSION, FAULT_TLB_MISS, FAULT_TRANSLATION, NO_FAULT } from './walk.ts';

const FAULT: number = maskOf(PAR.fields.FAULT);
const HIT: number = maskOf(V2PSR.fields.HIT);

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
 * Carries out a V2P operation with data word `request`. Of the registers only PAR and V2PSR change (R14); a walk may
 * load the TLB and the fetch buffer and set an access flag, as an access's does.
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
  registers.set(V2PSR, hit < 0 ? 0 : insert(HIT, V2PSR.fields.INDEX, hit));
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

/** PAR of a success. Field by field, since `encode` makes an object. */
function success({ address, attributes }: TranslationOutput): number {
  const { fields } = PAR;
  const isSuper = ((attributes >>> SIZE_SHIFT) & 3) === SIZE_SUPERSECTION;
  let word = insert(0, fields.NOFAULT_MT, (attributes >>> MEMORY_TYPE_SHIFT) & 7);
  if ((attributes & SHAREABLE) !== 0) word = insert(word, fields.NOFAULT_SH, 1);
  if ((attributes & NS_DESCRIPTOR) !== 0) word = insert(word, fields.NOFAULT_NS, 1);
  if ((attributes & INNER_SHAREABLE) !== 0) word = insert(word, fields.NOFAULT_NOS, 1);
  // Of a supersection only PA[31:24] is valid (R12).
  const page = extract(address, fields.PA) & (isSuper ? 0xff000 : 0xfffff);
  return insert(insert(word, fields.PA, page), fields.NOFAULT_SS, isSuper ? 1 : 0);
}
