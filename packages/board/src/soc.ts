/** The shape of a SoC as data. `createSystem` builds a running system from it; nothing in it runs. */
import type { CacheGeometry, RamBank } from '@iommu-lab/machine';
import type { MsmIommuContext } from '@iommu-lab/msm-bus';

/** One MSM System MMU instance: where it sits, its lines, its clocks, and who is wired to which of its banks. */
export interface SmmuRow {
  /** Key that devices name it by: `rot`. */
  readonly provider: string;
  /** Physical address of its 1 MiB register window. */
  readonly base: number;
  /** Numbers at the interrupt controller. */
  readonly secureIrq: number;
  readonly nonSecureIrq: number;
  readonly contextBanks: number;
  readonly interfaceClock: string;
  /** Absent where the SoC's table names none. */
  readonly coreClock?: string;
  readonly contexts: readonly MsmIommuContext[];
}

/** Kinds of DMA master the project has hardware models of. */
export type ModelKind = 'vfe' | 'rot' | 'mdp' | 'gfx2d' | 'ijpeg';

/** A bus master with registers, and the contexts its streams are hard-wired to. */
export interface MasterRow {
  readonly name: string;
  readonly compatible: string;
  readonly model: ModelKind;
  readonly registers: { readonly base: number; readonly sizeBytes: number };
  readonly irq: number;
  /** Names of the contexts it sits behind; they may belong to several instances. */
  readonly contexts: readonly string[];
  /** For each port of the model: the context its accesses go through and the machine id they carry. */
  readonly streams: Readonly<Record<string, StreamWire>>;
}

/** Where a port of a model goes: the context, and the machine id (0..31) its accesses carry. */
export interface StreamWire {
  readonly context: string;
  readonly machineId: number;
}

/** A board as data; `createSystem` takes one of your own as well. */
export interface SocDescription {
  readonly name: string;
  readonly title: string;
  readonly ram: readonly RamBank[];
  readonly cache: CacheGeometry;
  readonly clocks: readonly string[];
  readonly smmus: readonly SmmuRow[];
  readonly masters: readonly MasterRow[];
}
