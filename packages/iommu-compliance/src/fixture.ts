/** What a backend must supply to be judged: a small running system around it. */
import type { Device } from '@iommu-lab/driver-core';
import type { Iommu, ProcessSpace } from '@iommu-lab/iommu-core';
import type { AccessAttributes, BusMaster, MemoryPort, World } from '@iommu-lab/machine';

/** One system with the backend in it. Each check gets a new one. */
export interface ComplianceFixture {
  readonly world: World;
  /** The core, with the backend's instances registered and a default domain of `dma` or `blocked`. */
  readonly iommu: Iommu;
  /**
   * Two devices that the hardware can tell apart, with their endpoints written. The kit configures those that are not.
   * No driver is bound to them.
   */
  readonly devices: readonly [Device, Device];
  /** A master of the device: it issues with a stream of the device's first endpoint. Default attributes unless given. */
  createMaster(device: Device, attributes?: AccessAttributes): BusMaster;
  /** Memory as the masters see it. The kit fills and reads pages here. */
  readonly memory: MemoryPort;
  /**
   * RAM that nobody else uses, never given back. The kit takes at most 4 MiB and four of the largest pages.
   * @param alignBytes a power of two
   */
  allocate(sizeBytes: number, alignBytes: number): number;
  /** Bytes of memory that page tables occupy now, by whoever provides it: the kit looks for leaks here. */
  allocatedTableBytes(): number;
  /**
   * A process with nothing mapped, in a format that the manifest names. Given where `processFormats` is not empty; its own
   * tables do not count in `allocatedTableBytes`.
   */
  createProcess?(name: string): ComplianceProcess;
  /** Lets everything happen that is under way (interrupt handlers, retries): `world.clock.run()`. */
  settle(): void;
}

/** A process as the kit uses it: what a device sees of it, and what its program does. */
export interface ComplianceProcess extends ProcessSpace {
  /** Maps zeroed memory, which comes at first touch when `lazy`. @returns its address */
  mmap(sizeBytes: number, options?: { readonly lazy?: boolean; readonly readOnly?: boolean }): number;
  /** Unmaps what one `mmap` mapped. */
  munmap(address: number, sizeBytes: number): void;
  /** Reads as the process does. */
  read(address: number, into: Uint8Array): void;
  /** Writes as the process does. */
  write(address: number, from: Uint8Array): void;
  /** Ends the process. */
  exit(): void;
}

/** A backend as the kit takes it. */
export interface BackendUnderTest {
  readonly name: string;
  /** Makes a fixture. Called once for each check. */
  create(): ComplianceFixture;
  /** Takes it down. */
  destroy?(fixture: ComplianceFixture): void;
  /** How the random checks are run. */
  readonly random?: RandomSettings;
  /** Run nothing more once a check has failed: only whether all pass is asked for. */
  readonly stopAtFirst?: boolean;
}

export interface RandomSettings {
  /** Random sequences for each random check; 60 unless given. */
  readonly runs?: number;
  /** A seed that fast-check printed, to run the same again. */
  readonly seed?: number;
}
