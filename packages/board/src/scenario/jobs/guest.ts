/**
 * A guest owns the JPEG engine. Its RAM is scattered host frames; the driver inside is the host's driver, unchanged,
 * which works on guest-physical addresses and knows nothing of the host's.
 */
import { JPEG_ENCODER, ijpegDriver, type JpegResult } from '@iommu-lab/media-devices/drivers';
import { Guest } from '@iommu-lab/vm-passthrough';
import { allocatePages, type FrameMemory, readPages, writePages } from '../../frame-buffer.ts';
import { BYTES_PER_PIXEL } from '../../picture.ts';
import type { System } from '../../system.ts';
import type { GuestStep } from '../schema.ts';
import { finish, type Job, type JobContext } from './job.ts';

/** Where the guest's RAM starts in its own physical address space. */
const GUEST_RAM_BASE = 0x80000000;
/** Headers and tables of a JPEG stream, with room to spare: a tiny picture is smaller than they are. */
const JPEG_OVERHEAD_BYTES = 4096;

/** One picture, encoded inside the guest. @throws LabError ENOMEM when RAM is short in host or guest; ETIMEDOUT */
export function* guest({ system, stage, atEnd }: JobContext, step: GuestStep): Job {
  const { scene } = stage;
  const device = system.bus.device(step.owns);
  const hostDriver = device.driver;
  const jpegBytes = scene.pixels.length + JPEG_OVERHEAD_BYTES;
  const ramKiB = step.ramKiB ?? ramFor(scene.pixels.length + jpegBytes);

  yield `${step.name} boots with ${ramKiB} KiB`;
  system.bus.unbind(device);
  atEnd(() => {
    if (hostDriver !== undefined) system.bus.bind(device, hostDriver);
  });
  const vm = createGuest(system, step.name, atEnd);
  vm.addMemorySlot(GUEST_RAM_BASE, ramKiB * 1024);
  const guestDevice = vm.assign(device);
  vm.kernel.bus.addDriver(ijpegDriver);
  const encoder = guestDevice.require(JPEG_ENCODER);

  yield `${step.name} encodes a ${scene.width}x${scene.height} picture with ${step.owns}`;
  // Not freed one by one: they go with the guest's RAM.
  const memory: FrameMemory = { frames: vm.kernel.frames, cpu: vm.memory };
  const source = allocatePages(memory, scene.pixels.length);
  const destination = allocatePages(memory, jpegBytes);
  writePages(memory, source, scene.pixels);
  const { width, height } = scene;
  const result = finish(
    system,
    guestDevice,
    `the encoder of ${step.name}`,
    (done: (result: JpegResult) => void) =>
      encoder.encode(
        { width, height, strideBytes: width * BYTES_PER_PIXEL, entries: source },
        { entries: destination, sizeBytes: jpegBytes },
        step.quality,
        done,
      ),
  );
  const title = `${step.name} owns ${step.owns} and encodes a picture (quality ${step.quality})`;
  if (!result.ok) {
    return { title, results: [], problems: [`${step.owns}: ${result.message}`], artifacts: [] };
  }
  const bytes = readPages(memory, destination).slice(0, result.lengthBytes);
  return {
    title,
    results: [`${result.lengthBytes} bytes of JPEG, made in ${ramKiB} KiB of guest RAM`],
    problems: isJpeg(bytes) ? [] : [`what ${step.name} reads from its buffer is no JPEG stream`],
    artifacts: [{ name: `${step.name}.jpg`, kind: 'bytes', bytes }],
  };
}

function createGuest(system: System, name: string, atEnd: JobContext['atEnd']): Guest {
  const { world, iommu, frames, cache, mmio, interrupts } = system;
  const { cached, uncached } = cache;
  const vm = new Guest(
    { world, iommu, frames, cached, uncached, maintenance: cache, mmio, interrupts },
    { name },
  );
  atEnd(() => vm.destroy());
  return vm;
}

/** RAM for buffers of so many bytes and what a guest's kernel needs besides, in whole MiB. */
function ramFor(bufferBytes: number): number {
  return (Math.ceil(bufferBytes / 0x100000) + 1) * 1024;
}

/** Starts with SOI and ends with EOI (ITU-T T.81, B.1.1.3). */
function isJpeg(bytes: Uint8Array): boolean {
  const { length } = bytes;
  return (
    length > 4 &&
    bytes[0] === 0xff &&
    bytes[1] === 0xd8 &&
    bytes[length - 2] === 0xff &&
    bytes[length - 1] === 0xd9
  );
}
