/** The same packets through a way of doing DMA: a fresh system, its counts, and what a device could still reach. */
import type { Device } from '@iommu-lab/driver-core';
import { getDmaOps } from '@iommu-lab/dma-mapping';
import { LabError, type PhysAddr } from '@iommu-lab/machine';
import { FRAME_BYTES } from '@iommu-lab/kernel-mm';
import type { DmaSettings } from '../dma-settings.ts';
import type { SocDescription } from '../soc.ts';
import type { System } from '../system.ts';
import type { NicCounts } from './cost-model.ts';
import { type LateWrites, tryLateWrites } from './late-write.ts';
import { startMeter } from './meter.ts';
import { NicDriver } from './nic-driver.ts';
import { NicModel } from './nic-model.ts';
import { PacketPages } from './packet-pages.ts';
import { NicStack } from './stack.ts';

/** Ways of doing DMA: the device reaches all memory; an IOMMU, strict or deferred; bounce buffers and no IOMMU. */
export const NIC_MODES = ['direct', 'strict', 'deferred', 'bounce'] as const;
export type NicMode = (typeof NIC_MODES)[number];

/** What is played. */
export interface NicSettings {
  readonly seed: number;
  /** That arrive and are counted; as many are sent. */
  readonly packets: number;
  readonly packetBytes: number;
  /** Model time from one arriving packet to the next. */
  readonly packetNs: number;
  /** Descriptors of each ring. */
  readonly ringEntries: number;
  /** The device snoops the CPU's cache. */
  readonly coherent: boolean;
  /**
   * That arrive before counting begins; 300 unless given. IOVAs come from magazines once a flush queue has been full (256 ranges,
   * two a packet).
   */
  readonly warmUpPackets?: number;
}

/** How long unmapped buffers could still be reached. */
export interface LazyWindow {
  readonly flushes: number;
  readonly longestNs: number;
  /** Buffers that were unmapped and could be reached, on average over the run. */
  readonly meanReachable: number;
}

/** One way, played. */
export interface NicRun {
  readonly mode: NicMode;
  readonly counts: NicCounts;
  /** Only where invalidation is deferred. */
  readonly window?: LazyWindow;
  /** Absent when the device had failed before. */
  readonly lateWrites?: LateWrites;
  /** What went wrong; empty when every packet came through and nothing is left mapped. */
  readonly problems: readonly string[];
}

const DMA: Readonly<Record<NicMode, DmaSettings>> = {
  direct: {},
  strict: { invalidation: 'strict' },
  deferred: { invalidation: 'deferred' },
  bounce: { bounce: 'forced' },
};

const DEFAULT_WARM_UP_PACKETS = 300;

/** Room in the pool for each receive descriptor: a page, and as much again for what is sent and for alignment. */
const BOUNCE_BYTES = 2 * FRAME_BYTES;

/** A context that no master of the SoC is wired to. @throws LabError ENODEV when there is none */
export function spareContext(soc: SocDescription): string {
  const used = new Set(soc.masters.flatMap((master) => master.contexts));
  const spare = soc.smmus.flatMap((smmu) => smmu.contexts).find(({ context }) => !used.has(context));
  if (spare === undefined) throw new LabError('ENODEV', `${soc.name} has no IOMMU context to spare`);
  return spare.context;
}

/**
 * @param makeSystem a fresh one that does DMA like that
 * @throws LabError ENODEV when all contexts of the SoC are taken; ENOMEM, ENOSPC
 */
export function playNic(
  mode: NicMode,
  settings: NicSettings,
  makeSystem: (dma: DmaSettings) => System,
): NicRun {
  const { seed, packets, packetBytes, packetNs, ringEntries, coherent } = settings;
  const system = makeSystem({ ...DMA[mode], bounceBytes: ringEntries * BOUNCE_BYTES });
  const { device, master } = system.addDevice('nic', {
    isDmaCoherent: coherent,
    ...(mode === 'strict' || mode === 'deferred' ? { context: spareContext(system.soc) } : {}),
  });
  // A page for each receive descriptor, one for the packet that is sent, one for the one that the stack looks at.
  const pages = new PacketPages(system.frames, ringEntries + 2);
  const stack = new NicStack(system.kernelMemory.cpu, pages, seed, packetBytes);
  const nic = new NicModel(master, (packet) => stack.onWire(packet));
  let receiver = (buffer: PhysAddr, length: number): void => stack.received(driver, buffer, length);
  const driver = new NicDriver(device, nic, {
    ringEntries,
    bufferBytes: packetBytes,
    allocateBuffer: () => pages.take(),
    received: (buffer, length) => receiver(buffer, length),
    sent: (buffer) => pages.giveBack(buffer),
  });

  const carry = (count: number): void => {
    for (let i = 0; i < count; i++) {
      nic.receive(stack.next());
      driver.poll();
      system.world.clock.advance(packetNs);
    }
    driver.poll(); // the last answer
  };

  const startNs = system.world.clock.now;
  carry(settings.warmUpPackets ?? DEFAULT_WARM_UP_PACKETS);
  const stopMeter = startMeter(system, device, pages);
  const { maps, unmaps } = driver;
  carry(packets);
  const counts = stopMeter({
    packets: packets * 2,
    maps: driver.maps - maps,
    unmaps: driver.unmaps - unmaps,
  });
  const window = windowOf(system, device, system.world.clock.now - startNs);
  const { faultCount } = system.iommu;

  let lateWrites: LateWrites | undefined;
  receiver = (buffer) => {
    lateWrites = tryLateWrites(system, device, nic, buffer);
    pages.giveBack(buffer);
  };
  nic.receive(new Uint8Array(packetBytes));
  driver.poll();
  driver.close();
  pages.close();
  const { mappedBytes } = getDmaOps(device);
  return {
    mode,
    counts,
    ...(window && { window }),
    ...(lateWrites && { lateWrites }),
    problems: [
      ...stack.problems(),
      ...(nic.failure === undefined ? [] : [nic.failure]),
      ...(faultCount === 0 ? [] : [`${faultCount} accesses faulted`]),
      ...(mappedBytes === 0 ? [] : [`${mappedBytes} bytes are still mapped`]),
    ],
  };
}

function windowOf(system: System, device: Device, elapsedNs: number): LazyWindow | undefined {
  system.dma.flush(device);
  const deferred = system.dma.iovaReport(device)?.deferred;
  if (deferred === undefined) return undefined;
  const { flushes, longestNs, totalNs } = deferred;
  return {
    flushes: flushes.full + flushes.timeout,
    longestNs,
    meanReachable: elapsedNs === 0 ? 0 : totalNs / elapsedNs,
  };
}
