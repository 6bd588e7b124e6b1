/** The walk by software: what the descriptors say for one IOVA, as a value and in words. */
import { hex, type PhysAddr } from '@iommu-lab/machine';
import {
  firstLevelIndex,
  firstLevelKind,
  leafBytes,
  outputAddress,
  secondLevelBase,
  secondLevelIndex,
  secondLevelKind,
  type LeafKind,
} from './layout/short-descriptor.ts';
import {
  decodeDescriptor,
  type LeafAttributes,
  type ShortDescriptorFormat,
} from './short-descriptor-format.ts';
import type { TableMemory } from './table-memory.ts';

/** Reads the word at a physical address; a negative answer is a bus error. */
export type WordReader = (address: PhysAddr) => number;

/** What a table says about one IOVA. */
export interface Translation {
  /** Physical address of the very byte. */
  readonly address: PhysAddr;
  /** Bytes of the leaf it stands in. */
  readonly pageSize: number;
  readonly attributes: LeafAttributes;
}

/** One descriptor of a walk. */
export interface TableWalkStep {
  /** `first level` or `second level`. */
  readonly level: string;
  /** Physical address of the descriptor. */
  readonly address: number;
  /** Its value as `read` saw it. */
  readonly descriptor: number;
  /** What it says, in words. */
  readonly meaning: string;
}

/** A leaf as it was found: its kind and its word. */
interface FoundLeaf {
  readonly kind: LeafKind;
  readonly word: number;
}

/** The leaf that maps `iova` in the table at `root`, or undefined. */
function findLeaf(read: WordReader, root: PhysAddr, iova: number): FoundLeaf | undefined {
  const first = read(firstLevelAddress(root, iova));
  if (first < 0) return undefined;
  const kind = firstLevelKind(first);
  if (kind === 'invalid') return undefined;
  if (kind !== 'table') return { kind, word: first };
  const second = read(secondLevelAddress(first, iova));
  if (second < 0) return undefined;
  const leaf = secondLevelKind(second);
  return leaf === 'invalid' ? undefined : { kind: leaf, word: second };
}

/** Physical address of the byte at `iova`; negative where nothing maps it. Makes no object. */
export function findAddress(memory: TableMemory, root: PhysAddr, iova: number): number {
  const first = memory.read32(firstLevelAddress(root, iova));
  const kind = firstLevelKind(first);
  if (kind === 'invalid') return -1;
  if (kind !== 'table') return outputAddress(kind, first, iova);
  const second = memory.read32(secondLevelAddress(first, iova));
  const leaf = secondLevelKind(second);
  return leaf === 'invalid' ? -1 : outputAddress(leaf, second, iova);
}

/** What hardware programmed for `format` would make of `iova`, rights left aside. */
export function translate(
  format: ShortDescriptorFormat,
  read: WordReader,
  root: PhysAddr,
  iova: number,
): Translation | undefined {
  const leaf = findLeaf(read, root, iova);
  if (leaf === undefined) return undefined;
  return {
    address: outputAddress(leaf.kind, leaf.word, iova) as PhysAddr,
    pageSize: leafBytes(leaf.kind),
    attributes: decodeDescriptor(format, leaf.kind, leaf.word),
  };
}

/** The walk for `iova`, descriptor by descriptor, up to the leaf or to what ends it. */
export function explainWalk(
  format: ShortDescriptorFormat,
  read: WordReader,
  root: PhysAddr,
  iova: number,
): readonly TableWalkStep[] {
  const firstAddress = firstLevelAddress(root, iova);
  const first = read(firstAddress);
  const firstStep = step('first level', firstAddress, first);
  if (first < 0) return [firstStep('bus error')];
  const kind = firstLevelKind(first);
  if (kind === 'invalid') return [firstStep('invalid: nothing is mapped in this MiB')];
  if (kind !== 'table') return [firstStep(describeLeaf(format, kind, first))];

  const pointer = firstStep(`second-level table at ${hex(secondLevelBase(first))}`);
  const secondAddress = secondLevelAddress(first, iova);
  const second = read(secondAddress);
  const secondStep = step('second level', secondAddress, second);
  if (second < 0) return [pointer, secondStep('bus error')];
  const leaf = secondLevelKind(second);
  return [
    pointer,
    secondStep(leaf === 'invalid' ? 'invalid: nothing is mapped here' : describeLeaf(format, leaf, second)),
  ];
}

/** Physical address of the first-level entry for `iova`. */
export function firstLevelAddress(root: PhysAddr, iova: number): PhysAddr {
  return (root + firstLevelIndex(iova) * 4) as PhysAddr;
}

/** Physical address of the second-level entry for `iova`, under the table entry `pointer`. */
function secondLevelAddress(pointer: number, iova: number): PhysAddr {
  return (secondLevelBase(pointer) + secondLevelIndex(iova) * 4) as PhysAddr;
}

const LEAF_NAMES: Readonly<Record<LeafKind, string>> = {
  small: 'small page',
  large: 'large page',
  section: 'section',
  supersection: 'supersection',
};

function describeLeaf(format: ShortDescriptorFormat, kind: LeafKind, word: number): string {
  const attributes = decodeDescriptor(format, kind, word);
  const words = [`${LEAF_NAMES[kind]} at ${hex(outputAddress(kind, word, 0))}`];
  if (!attributes.read) words.push('no access');
  else words.push(attributes.write ? 'read-write' : 'read-only');
  if (attributes.privileged) words.push('privileged');
  if (attributes.noExec) words.push('no-execute');
  words.push(attributes.memory);
  return words.join(', ');
}

function step(level: string, address: number, descriptor: number): (meaning: string) => TableWalkStep {
  return (meaning) => ({ level, address, descriptor, meaning });
}
