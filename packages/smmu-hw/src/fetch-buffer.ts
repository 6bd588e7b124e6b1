/**
 * The block fetch buffer: descriptors read ahead of need (BFBCR.BFBDFE). A walk that needs a word gets the whole block
 * around it; later walks are answered from the block, whatever became of the words in memory meanwhile, invalid ones
 * included (R26). What fails to be read ahead is nobody's fault until it is asked for (R60).
 */
import type { MemoryPort, PhysAddr } from '@iommu-lab/machine';

/** Descriptors of a block, and its size in bytes: half a cache line of the CPU's L2. Open point 8. */
const BLOCK_WORDS = 8;
const BLOCK_BYTES = BLOCK_WORDS * 4;
const EMPTY = -1;

/** Everything the buffer holds, as plain data. */
export interface FetchBufferSnapshot {
  readonly blocks: readonly {
    readonly index: number;
    readonly tag: number;
    readonly words: readonly number[];
  }[];
  readonly nextVictims: readonly number[];
}

/** The buffer of one instance: some blocks for each level of the tables, replaced in turn. */
export class FetchBuffer {
  readonly #blocks: number;
  /** Address of the block x 2 + whether it was read through the CPU's cache; EMPTY = none. By level x blocks + block. */
  readonly #tags: Float64Array;
  readonly #words: Float64Array;
  readonly #nextVictim = [0, 0];

  constructor(blocks: number) {
    this.#blocks = blocks;
    this.#tags = new Float64Array(2 * blocks).fill(EMPTY);
    this.#words = new Float64Array(2 * blocks * BLOCK_WORDS);
  }

  /** Whether there is one at all. */
  get exists(): boolean {
    return this.#blocks > 0;
  }

  /** The word at `address` (4-byte aligned) for a walk at `level` 0 or 1; what it answers is what `port` once did. */
  read32(port: MemoryPort, isSnooped: boolean, level: number, address: number): number {
    const start = address - (address % BLOCK_BYTES);
    const tag = start * 2 + (isSnooped ? 1 : 0);
    const block = this.#find(tag, level);
    const first = (block === EMPTY ? this.#fetch(port, tag, level, start) : block) * BLOCK_WORDS;
    return this.#words[first + (address - start) / 4] as number;
  }

  /** The walker changed a descriptor: every copy of it changes too. */
  write32(address: number, word: number): void {
    const start = address - (address % BLOCK_BYTES);
    for (let block = 0; block < this.#tags.length; block++) {
      if (Math.floor((this.#tags[block] as number) / 2) !== start) continue;
      this.#words[block * BLOCK_WORDS + (address - start) / 4] = word;
    }
  }

  /** Empty; the order of replacement goes on. */
  clear(): void {
    this.#tags.fill(EMPTY);
  }

  /** Empty, as at power-on. */
  reset(): void {
    this.clear();
    this.#nextVictim.fill(0);
  }

  snapshot(): FetchBufferSnapshot {
    const blocks: FetchBufferSnapshot['blocks'][number][] = [];
    this.#tags.forEach((tag, index) => {
      if (tag === EMPTY) return;
      const words = [...this.#words.subarray(index * BLOCK_WORDS, (index + 1) * BLOCK_WORDS)];
      blocks.push({ index, tag, words });
    });
    return { blocks, nextVictims: [...this.#nextVictim] };
  }

  restore(snapshot: FetchBufferSnapshot): void {
    this.reset();
    for (const { index, tag, words } of snapshot.blocks) {
      this.#tags[index] = tag;
      this.#words.set(words, index * BLOCK_WORDS);
    }
    snapshot.nextVictims.forEach((next, level) => {
      this.#nextVictim[level] = next;
    });
  }

  #find(tag: number, level: number): number {
    for (let block = level * this.#blocks; block < (level + 1) * this.#blocks; block++) {
      if (this.#tags[block] === tag) return block;
    }
    return EMPTY;
  }

  #fetch(port: MemoryPort, tag: number, level: number, start: number): number {
    const next = this.#nextVictim[level] as number;
    this.#nextVictim[level] = (next + 1) % this.#blocks;
    const block = level * this.#blocks + next;
    this.#tags[block] = tag;
    for (let word = 0; word < BLOCK_WORDS; word++) {
      this.#words[block * BLOCK_WORDS + word] = port.read32((start + word * 4) as PhysAddr);
    }
    return block;
  }
}
