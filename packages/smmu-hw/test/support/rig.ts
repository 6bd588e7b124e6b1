/** A board with one instance on it, seen from the pins: registers, memory words, masters, two lines. */
import {
  BusMaster,
  CpuCache,
  InterruptLine,
  MmioBus,
  World,
  encode,
  extract,
  type AccessStatus,
  type BusAccess,
  type MemoryPort,
  type PhysAddr,
  type Register,
  type Transfer,
} from '@iommu-lab/machine';
import { MsmSmmu, type MsmSmmuConfig, type Translated } from '../../src/index.ts';
import * as regs from '../../src/regs/index.ts';
import { RefusingMemory } from './refusing-memory.ts';
import { WordMemory } from './word-memory.ts';

export { regs };

/** Where the window stands, as jpegd's on the MSM8x60. */
export const WINDOW = 0x07300000;
/** First-level table of the tests; second-level tables follow it. */
export const TABLE = 0x40000000;
export const SECOND = 0x40010000;
/** A little memory above 4 GiB, for supersections of 40 bits: PA[39:36] = 0xA, PA[35:32] = 0x9. */
export const HIGH = 0xa941000000;

/** ACTLR after attach (all driver generations), and the same with faults terminated at once. */
export const ACTLR_ATTACHED = 0x00037072;
export const ACTLR_NO_STALL = 0x00033072;
/** The kernel's own PRRR and NMRR. */
export const PRRR_LINUX = 0xff0a81a8;
export const NMRR_LINUX = 0x40e040e0;

export interface BankSetup {
  readonly sctlr?: number;
  readonly actlr?: number;
  readonly ttbr0?: number;
  readonly ttbr1?: number;
  readonly ttbcr?: number;
  readonly asid?: number;
  readonly cbacr?: number;
  readonly prrr?: number;
  readonly nmrr?: number;
}

/** What a master drives, and the direction; unprivileged non-secure data reads unless told. */
export interface AccessSetup {
  readonly isWrite?: boolean;
  readonly isPrivileged?: boolean;
  readonly isInstruction?: boolean;
  readonly isSecure?: boolean;
}

export class Rig {
  readonly world: World = new World({ seed: 7 });
  readonly memory: MemoryPort = new WordMemory([
    { base: 0, sizeBytes: 0x10000 },
    { base: 0x40000000, sizeBytes: 0x20000000 },
    { base: HIGH, sizeBytes: 0x1000 },
  ]);
  /** Addresses of words that refuse: the SMMU gets a slave error there, whichever way it asks. */
  readonly refused: Set<number> = new Set();
  /** Whether the clock of the registers runs. */
  isClocked: boolean = true;
  readonly cache: CpuCache = new CpuCache(this.world, this.memory, {
    lineBytes: 32,
    sets: 16,
    ways: 4,
    evictOneIn: 0,
    speculateOneIn: 0,
  });
  readonly secureLine: InterruptLine = new InterruptLine('secure');
  readonly nonSecureLine: InterruptLine = new InterruptLine('non-secure');
  readonly smmu: MsmSmmu;
  readonly mmio: MmioBus = new MmioBus(this.world);

  constructor(config: Partial<MsmSmmuConfig> = {}) {
    this.smmu = new MsmSmmu(
      this.world,
      { name: 'jpegd', contextBanks: 3, ...config },
      {
        memory: new RefusingMemory(this.memory, this.refused),
        snooped: new RefusingMemory(this.cache.snooped, this.refused),
        secureLine: this.secureLine,
        nonSecureLine: this.nonSecureLine,
      },
    );
    this.mmio.addWindow({
      name: 'jpegd',
      base: WINDOW,
      sizeBytes: regs.WINDOW_BYTES,
      device: this.smmu,
      isClocked: () => this.isClocked,
    });
  }

  at(offset: number): number {
    return this.mmio.read32(WINDOW + offset);
  }

  put(offset: number, value: number): void {
    this.mmio.write32(WINDOW + offset, value);
  }

  /** A context register. */
  get(bank: number, register: Register): number {
    return this.at(regs.contextOffset(bank, register));
  }

  set(bank: number, register: Register, value: number): void {
    this.put(regs.contextOffset(bank, register), value);
  }

  field<F extends string>(bank: number, register: Register<F>, name: F): number {
    return extract(this.get(bank, register), register.fields[name]);
  }

  /** Routes a machine id; NSCFG as Linux sets it. */
  route(mid: number, bank: number, vmid = 0): void {
    this.put(regs.m2vcbrOffset(mid), encode(regs.M2VCBR, { CBNDX: bank, VMID: vmid, NSCFG: 3 }));
  }

  /** Writes the whole routing entry of a machine id; what is not named is 0. */
  streamEntry(mid: number, fields: Partial<Record<keyof typeof regs.M2VCBR.fields, number>>): void {
    this.put(regs.m2vcbrOffset(mid), encode(regs.M2VCBR, fields));
  }

  /** Programs a bank as an attach does, M last. Faults are terminated and raise the secure line, unless told. */
  attach(bank: number, setup: BankSetup = {}): void {
    this.put(regs.cbacrOffset(bank), setup.cbacr ?? 0);
    this.set(bank, regs.CONTEXTIDR, setup.asid ?? bank);
    this.set(bank, regs.ACTLR, setup.actlr ?? ACTLR_NO_STALL);
    this.set(bank, regs.TTBCR, setup.ttbcr ?? 0);
    this.set(bank, regs.TTBR0, setup.ttbr0 ?? TABLE);
    this.set(bank, regs.TTBR1, setup.ttbr1 ?? 0);
    this.set(bank, regs.PRRR, setup.prrr ?? PRRR_LINUX);
    this.set(bank, regs.NMRR, setup.nmrr ?? NMRR_LINUX);
    this.set(bank, regs.SCTLR, setup.sctlr ?? 3);
  }

  word(address: number, value: number): void {
    this.memory.write32(address as PhysAddr, value >>> 0);
  }

  peek(address: number): number {
    return this.memory.read32(address as PhysAddr);
  }

  /** Stores a word on the CPU's side: it stands in the cache, and memory keeps what it has. */
  cacheWord(address: number, value: number): void {
    this.cache.cached.write32(address as PhysAddr, value >>> 0);
  }

  /** First-level entry for `va`; second-level entry for `va` in the table at `second` (linked as well). */
  first(va: number, descriptor: number, table: number = TABLE): void {
    this.word(table + (va >>> 20) * 4, descriptor);
  }

  second(va: number, descriptor: number, second: number = SECOND, table: number = TABLE): void {
    this.first(va, second | 1, table);
    this.word(second + ((va >>> 12) & 0xff) * 4, descriptor);
  }

  master(mid: number, options: Omit<AccessSetup, 'isWrite'> = {}): BusMaster {
    return new BusMaster(this.world, {
      name: `mid${mid}`,
      streamId: mid,
      port: this.smmu,
      attributes: {
        isPrivileged: options.isPrivileged ?? false,
        isInstruction: options.isInstruction ?? false,
        isSecure: options.isSecure ?? false,
      },
    });
  }

  /** The address phase of a one-word access alone. After 'done', `translated` says what came out. */
  translate(mid: number, va: number, setup: AccessSetup = {}): AccessStatus {
    return this.smmu.translate(wordAccess(mid, va, setup));
  }

  /** What came out of the last `translate` that was done, as a value to keep and compare. */
  translated(): Translated {
    const { address, memoryType, shareability, isSnooped, isNonSecure } = this.smmu.translated;
    return { address, memoryType, shareability, isSnooped, isNonSecure };
  }

  /** Where the address phase leads; the status if it is not done. */
  addressOf(mid: number, va: number, setup: AccessSetup = {}): number | AccessStatus {
    const status = this.translate(mid, va, setup);
    return status === 'done' ? this.smmu.translated.address : status;
  }

  /** Reads a word through the SMMU as `mid`; undefined unless the transfer is done. */
  load(mid: number, va: number): number | undefined {
    const bytes = new Uint8Array(4);
    const transfer = this.master(mid).read(va, bytes);
    return transfer.state === 'done' ? new DataView(bytes.buffer).getUint32(0, true) : undefined;
  }

  store(mid: number, va: number, value: number): Transfer {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, value, true);
    return this.master(mid).write(va, bytes);
  }

  /** V2P; PAR. */
  probe(bank: number, va: number, register: Register = regs.V2PPR): number {
    this.set(bank, register, va & 0xfffff000);
    return this.get(bank, regs.PAR);
  }

  /** Empties the whole TLB. */
  flush(): void {
    this.put(regs.GLOBAL_TLBIALL.offset, 0);
  }
}

/** One word on the bus. Whoever parks it keeps it: its end interests nobody. */
function wordAccess(mid: number, address: number, setup: AccessSetup): BusAccess {
  return {
    address,
    data: new Uint8Array(4),
    offset: 0,
    length: 4,
    isWrite: setup.isWrite ?? false,
    streamId: mid,
    attributes: {
      isPrivileged: setup.isPrivileged ?? false,
      isInstruction: setup.isInstruction ?? false,
      isSecure: setup.isSecure ?? false,
    },
    masterName: `mid${mid}`,
    resume: () => {},
  };
}
