/** What a walk finds, and what a TLB entry holds besides its tags. */
export interface Leaf {
  /** Physical address of the page: bits 31:0 as a signed word (an unsigned one may not fit a small integer), 39:32. */
  readonly low: number;
  readonly high: number;
  /** Attribute word; see attributes.ts. */
  readonly attributes: number;
  /** nG = 0. */
  readonly isGlobal: boolean;
}

/** A place for a leaf: a walker has one and fills it again and again. */
export type MutableLeaf = { -readonly [Part in keyof Leaf]: Leaf[Part] };

/** Physical address of `offset` in the page of a leaf. */
export function addressIn(leaf: Leaf, offset: number): number {
  const low = (leaf.low | offset) >>> 0;
  return leaf.high === 0 ? low : low + leaf.high * 0x100000000;
}
