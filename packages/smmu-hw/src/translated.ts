/** What an access has become once its address phase is done: the transaction that goes on to memory. */
import { DEFAULT_ATTRIBUTES, type BusAccess, type PhysAddr } from '@iommu-lab/machine';
import { BYPASSED, NS_DESCRIPTOR } from './attributes.ts';
import { memoryTypeOf, shareabilityOf, type MemoryTypeName, type ShareabilityName } from './inspection.ts';
import { isSnooped } from './memory-type.ts';
import { bypassRedirects, isNonSecure, type StreamMap } from './stream-map.ts';

/** A transaction on its way to memory. */
export interface Translated {
  /** Physical address of its first byte: 32 bits, or 40 in a supersection with extended addresses. */
  readonly address: PhysAddr;
  /** Resolved from TEX, C, B and the remap registers (R42); of a bypass, from M2VCBR (R32). */
  readonly memoryType: MemoryTypeName;
  readonly shareability: ShareabilityName;
  /** It looks into the CPU's cache: cacheable, and redirected by ACTLR.RCxSH or M2VCBR.BPRCxSH. */
  readonly isSnooped: boolean;
  /** By M2VCBR.NSCFG, the master, or the NS bit of the descriptor. */
  readonly isNonSecure: boolean;
}

/** Where the address phase leaves its result. One object for all accesses, so that none has to make one. */
export class TranslationOutput implements Translated {
  readonly physical: Float64Array = new Float64Array(1);
  /** Attribute word. */
  attributes = 0;
  /** Whose it is. */
  access: Pick<BusAccess, 'attributes' | 'streamId'> = { attributes: DEFAULT_ATTRIBUTES, streamId: 0 };
  readonly #streams: StreamMap;

  constructor(streams: StreamMap) {
    this.#streams = streams;
  }

  get address(): PhysAddr {
    return this.physical[0] as PhysAddr;
  }

  get memoryType(): MemoryTypeName {
    return memoryTypeOf(this.attributes);
  }

  get shareability(): ShareabilityName {
    return shareabilityOf(this.attributes);
  }

  get isSnooped(): boolean {
    const { streamId } = this.access;
    const redirects =
      (this.attributes & BYPASSED) === 0
        ? this.#streams.streams[streamId]?.bank?.redirects
        : bypassRedirects(this.#streams.word(streamId));
    return isSnooped(this.attributes, redirects ?? 0);
  }

  get isNonSecure(): boolean {
    const { attributes, streamId } = this.access;
    if ((this.attributes & NS_DESCRIPTOR) !== 0) return true;
    return isNonSecure(this.#streams.word(streamId), attributes.isSecure);
  }
}
