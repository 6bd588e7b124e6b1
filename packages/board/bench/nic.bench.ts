/**
 * The NIC's job, by the way it does DMA: a packet arrives, its buffer is unmapped, the stack looks at every byte and answers,
 * the answer is mapped, read by the device and unmapped, a fresh buffer is mapped. An operation is a packet that moved, in or
 * out; the device's accesses and the checks of all bytes are part of it, the same for every way.
 */
import { benchCase, type BenchCase, type PreparedCase } from '@iommu-lab/bench';
import { NicDriver } from '../src/nic/nic-driver.ts';
import { NicModel } from '../src/nic/nic-model.ts';
import { PacketPages } from '../src/nic/packet-pages.ts';
import { NicStack } from '../src/nic/stack.ts';
import { createSystem, type DmaSettings } from '../src/index.ts';
import { SPARE_CONTEXT, type Way, WAYS } from './dma-rig.ts';

const PACKET_BYTES = 1500;
const RING_ENTRIES = 256;
const PACKETS = 256;

/** The cases. */
export default WAYS.map((way) =>
  benchCase({
    name: `NIC packet, ${way}`,
    operations: PACKETS * 2,
    prepare: (): PreparedCase => prepare(way),
  }),
) as readonly BenchCase[];

const SETTINGS: Readonly<Record<Way, DmaSettings>> = {
  direct: {},
  strict: { invalidation: 'strict' },
  deferred: { invalidation: 'deferred' },
  bounce: { bounce: 'forced' },
};

function prepare(way: Way): PreparedCase {
  const system = createSystem({ dma: SETTINGS[way] });
  const { device, master } = system.addDevice('nic', {
    isDmaCoherent: true,
    ...((way === 'strict' || way === 'deferred') && { context: SPARE_CONTEXT }),
  });
  const pages = new PacketPages(system.frames, RING_ENTRIES + 2);
  const stack = new NicStack(system.cache.cached, pages, 1, PACKET_BYTES);
  const nic = new NicModel(master, (packet) => stack.onWire(packet));
  let packets = 0;
  const driver: NicDriver = new NicDriver(device, nic, {
    ringEntries: RING_ENTRIES,
    bufferBytes: PACKET_BYTES,
    allocateBuffer: () => pages.take(),
    received: (buffer, length) => {
      packets++;
      stack.received(driver, buffer, length);
    },
    sent: (buffer) => pages.giveBack(buffer),
  });
  return {
    run: () => {
      for (let i = 0; i < PACKETS; i++) {
        nic.receive(stack.next());
        driver.poll();
      }
      return PACKETS;
    },
    verify: () => {
      driver.poll();
      const problems = stack.problems();
      if (problems.length > 0) throw new Error(problems.join('; '));
    },
    counters: () => ({ packets }),
    expected: { packets: PACKETS },
  };
}
