/**
 * The scenario format: what a person writes in YAML to have a system do something. Everything has a default but the
 * steps; a key that is not known is an error, so that a typing mistake is not silently ignored.
 */
import * as z from 'zod';
import { NIC_PRICES, type NicPrices } from '../nic/cost-model.ts';

/** A scenario with every default filled in. */
export interface Scenario {
  readonly version: 1;
  readonly name: string;
  readonly board: string;
  readonly seed: number;
  /** Pictures a pipeline carries. */
  readonly frames: number;
  readonly hardware: HardwareSettings;
  readonly steps: readonly Step[];
}

/** Where a scenario may differ from its board. */
export interface HardwareSettings {
  /** Table walkers see the CPU's cache. */
  readonly coherentWalk: boolean;
  /** TLB entries of each IOMMU. */
  readonly tlbEntries: number;
}

/** One thing that happens, told apart by `do`. */
export type Step =
  PipelineStep | ShareEngineStep | GuestStep | TrespassStep | ProcessSpaceStep | WhichIommuStep | NicStep;

/** Camera -> rotator -> display, once a frame. */
export interface PipelineStep {
  readonly do: 'pipeline';
  readonly camera: string;
  readonly rotator: string;
  readonly display: string;
  /** Clockwise. */
  readonly degrees: 0 | 90 | 180 | 270;
}

/** Processes take turns on one engine; each has a domain of its own and the engine is switched in between. */
export interface ShareEngineStep {
  readonly do: 'share-engine';
  readonly engine: string;
  readonly processes: readonly string[];
  /** Turns of each process. */
  readonly rounds: number;
}

/** A guest owns a JPEG encoder and drives it with its own driver. */
export interface GuestStep {
  readonly do: 'guest';
  readonly name: string;
  readonly owns: string;
  /** What the picture needs, unless given. */
  readonly ramKiB?: number | undefined;
  /** JPEG quality, 1..100. */
  readonly quality: number;
}

/** A device tries an access; the hardware lets it pass or stops it, and the step says which is right. */
export interface TrespassStep {
  readonly do: 'trespass';
  readonly device: string;
  readonly buffer: { readonly pages: number; readonly rights: 'read' | 'write' | 'read-write' };
  readonly attempt: 'read' | 'write';
  /** Where, relative to the buffer; a number is an IOVA. */
  readonly at: 'inside' | 'beyond-end' | 'before-start' | number;
  readonly lengthBytes: number;
  readonly expect: 'done' | 'stopped';
}

/** One job of a 2D engine for a process, in the process's address space and in the bus's. */
export interface ProcessSpaceStep {
  readonly do: 'process-space';
  readonly engine: string;
  /** 4 KiB pages of each of the process's two buffers. */
  readonly pages: number;
  /** Pages of them that the job touches. */
  readonly usedPages: number;
}

/** The same job through every answer to the question which IOMMU the API talks to. */
export interface WhichIommuStep {
  readonly do: 'which-iommu';
}

/** The same packets through a NIC with four ways of doing DMA, and what each costs. */
export interface NicStep {
  readonly do: 'nic';
  /** That arrive; as many are sent. */
  readonly packets: number;
  readonly packetBytes: number;
  /** Model time from one arriving packet to the next. */
  readonly packetNs: number;
  /** Descriptors of each ring. */
  readonly ringEntries: number;
  /** The NIC snoops the CPU's cache. */
  readonly coherent: boolean;
  /** Cycles for one of each. */
  readonly costs: NicPrices;
}

const name = z.string().regex(/^[a-z][a-z0-9-]*$/, 'a name is lower-case letters, digits and dashes');
const count = (max: number): z.ZodInt => z.int().min(1).max(max);

const Pipeline = z.strictObject({
  do: z.literal('pipeline'),
  camera: name.default('vfe').describe('device that writes the picture'),
  rotator: name.default('rot').describe('device that turns it'),
  display: name.default('mdp').describe('device that scans it out'),
  degrees: z.literal([0, 90, 180, 270]).default(90).describe('clockwise'),
});

const ShareEngine = z.strictObject({
  do: z.literal('share-engine'),
  engine: name.default('gfx2d0'),
  processes: z
    .array(name)
    .min(2)
    .max(8)
    .refine((names) => new Set(names).size === names.length, 'two processes have the same name')
    .default(['painter', 'printer']),
  rounds: count(1000).default(4).describe('turns of each process'),
});

const Guest = z.strictObject({
  do: z.literal('guest'),
  name: name.default('vm0'),
  owns: name.default('ijpeg').describe('a JPEG encoder'),
  ramKiB: z
    .int()
    .min(256)
    .max(65536)
    .refine((kib) => kib % 4 === 0, 'guest RAM is a multiple of 4 KiB')
    .optional()
    .describe('what the picture needs unless given'),
  quality: z.int().min(1).max(100).default(85).describe('JPEG quality'),
});

const Trespass = z.strictObject({
  do: z.literal('trespass'),
  device: name,
  buffer: z
    .strictObject({
      pages: count(256).default(4).describe('4 KiB pages mapped for the device'),
      rights: z.enum(['read', 'write', 'read-write']).default('read-write'),
    })
    .prefault({}),
  attempt: z.enum(['read', 'write']),
  at: z
    .union([z.enum(['inside', 'beyond-end', 'before-start']), z.int().min(0).max(0xffffffff)], {
      error: 'expected inside, beyond-end, before-start, or an IOVA from 0 to 0xffffffff',
    })
    .default('inside'),
  lengthBytes: count(1 << 20).default(64),
  expect: z.enum(['done', 'stopped']),
});

const ProcessSpace = z
  .strictObject({
    do: z.literal('process-space'),
    engine: name.default('gfx2d0').describe('a 2D engine'),
    pages: count(256).min(2).default(16).describe('4 KiB pages of each of the two buffers'),
    usedPages: count(256).min(2).default(8).describe('of them, how many the job touches'),
  })
  .refine(({ pages, usedPages }) => usedPages <= pages, {
    path: ['usedPages'],
    error: 'the job cannot touch more pages than there are',
  });

const WhichIommu = z.strictObject({ do: z.literal('which-iommu') });

const price = (of: keyof NicPrices, what: string): z.ZodDefault<z.ZodNumber> =>
  z.number().min(0).max(1e9).default(NIC_PRICES[of]).describe(`cycles ${what}`);

const Nic = z.strictObject({
  do: z.literal('nic'),
  packets: count(100_000).default(2000).describe('that arrive; each is answered by one as long'),
  packetBytes: count(4096).min(64).default(1500),
  packetNs: count(1_000_000_000)
    .default(12_000)
    .describe('from one arriving packet to the next; 1500 bytes at 1 Gb/s'),
  ringEntries: count(1024).min(2).default(256).describe('descriptors of each ring'),
  coherent: z.boolean().default(false).describe("the NIC snoops the CPU's cache"),
  costs: z
    .strictObject({
      stack: price('stack', "for a packet in the kernel's stack"),
      tableStore: price('tableStore', 'for an entry of a page table that is written or cleared'),
      iovaCached: price('iovaCached', 'for an IOVA from a magazine, and giving it back'),
      iovaTree: price('iovaTree', 'for an IOVA from the tree'),
      bounceSlot: price('bounceSlot', 'for a bounce buffer that is found and freed'),
      invalidation: price('invalidation', 'for an invalidation and the wait for it'),
      cacheLine: price('cacheLine', 'for a cache line of a packet that is cleaned or invalidated'),
      copiedByte: price('copiedByte', 'for a byte copied to or from a bounce buffer'),
      tlbHit: price('tlbHit', 'for an access of the NIC that the TLB translates'),
      walkRead: price('walkRead', 'for a descriptor that a table walk reads'),
    })
    .prefault({})
    .describe('prices of the cost model'),
});

/** Checks a scenario and fills its defaults in. */
export const ScenarioSchema: z.ZodType<Scenario> = z.strictObject({
  version: z.literal(1).describe('version of this format'),
  name: z.string().min(1).describe('what it shows, in a few words'),
  board: name.default('msm8x60'),
  seed: z.int().min(0).max(0x7fffffff).default(1).describe('scatters frames, times cache evictions'),
  frames: count(10_000).default(2).describe('pictures a pipeline carries'),
  hardware: z
    .strictObject({
      coherentWalk: z.boolean().default(false).describe('table walkers see the CPU cache'),
      tlbEntries: z.literal([8, 16, 32, 64, 128, 256]).default(64).describe('of each IOMMU'),
    })
    .prefault({}),
  steps: z
    .array(
      z.discriminatedUnion('do', [Pipeline, ShareEngine, Guest, Trespass, ProcessSpace, WhichIommu, Nic], {
        error: 'a step is one of pipeline, share-engine, guest, trespass, process-space, which-iommu, nic',
      }),
    )
    .min(1)
    .describe('what happens, in order'),
});
