/** The V2P operations: translation on request of software, answered in PAR (R7 to R16). */
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
import { PAR, V2PPR, V2PPW, V2PSR, V2PUR, V2PUW } from './regs/index.ts';
import type { Translator } from './translate.ts';
import { NO_FAULT } from './walk.ts';

const FAULT = 1;

/** The trigger registers and the right each asks for (R16). */
export const PROBES: readonly { readonly register: Register; readonly right: number }[] = [
  { register: V2PPR, right: PRIVILEGED_READ },
  { register: V2PPW, right: PRIVILEGED_WRITE },
  { register: V2PUR, right: USER_READ },
  { register: V2PUW, right: USER_WRITE },
];

/**
 * Carries out a V2P operation with data word `request`. Only PAR and V2PSR change, whatever comes out (R14).
 * A bank that does not translate answers with the address itself (fixed choice).
 */
export function probeAddress(
  translator: Translator,
  bank: ContextBank,
  right: number,
  request: number,
): void {
  const { registers } = bank;
  const page = (request & 0xfffff000) >>> 0;
  if (!bank.isEnabled) {
    registers.set(PAR, page);
    registers.set(V2PSR, 0);
    return;
  }
  const fault = translator.translate(bank, bank.vmid, page, right, false, bank.probeWalksOnMiss);
  registers.set(PAR, fault === NO_FAULT ? success(translator.output) : fault | FAULT);
  const isHit = translator.isHit;
  registers.set(V2PSR, encode(V2PSR, isHit ? { HIT: 1, INDEX: translator.entry } : {}));
}

function success(output: Uint32Array): number {
  const address = output[0] as number;
  const attributes = output[1] as number;
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
