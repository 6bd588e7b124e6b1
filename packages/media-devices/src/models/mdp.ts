/** The display: scans a frame out to a panel, line by line. */
import {
  BusMaster,
  type BusPort,
  type InterruptLine,
  type RegisterFile,
  type World,
} from '@iommu-lab/machine';
import {
  MDP_REGISTERS,
  MDP_SCAN_BASE,
  MDP_SCAN_SIZE,
  MDP_SCAN_STRIDE,
  MDP_UNDERRUN_LINES,
} from '../registers/mdp.ts';
import { type Job, JobEngine, type JobRun } from './job-engine.ts';
import { isAddressable, PIXEL_BYTES, pixelAddress, readSize } from './picture.ts';
import { inSequence } from './transfers.ts';

/** What the display drives. */
export interface Panel {
  /** A whole frame has been scanned out: width * height * 4 bytes R,G,B,X. The panel may keep it. */
  show(frame: Uint8Array, width: number, height: number): void;
}

export interface MdpWiring {
  /** `mdp` unless given. */
  readonly name?: string;
  readonly port: BusPort;
  readonly streamIds: { readonly scan: number };
  readonly line: InterruptLine;
  readonly panel: Panel;
}

const NS_PER_PIXEL = 6;

/**
 * Makes a display. A line is read each `width * 6` ns. A line that cannot be read is shown black and sets ERROR at
 * once, as an underrun does; the scan goes on, and DONE comes at its end.
 */
export function createMdp(world: World, wiring: MdpWiring): JobEngine {
  const { port, streamIds, line, panel, name = 'mdp' } = wiring;
  const master = new BusMaster(world, { name, streamId: streamIds.scan, port });

  function prepare(file: RegisterFile, run: JobRun): Job | undefined {
    file.set(MDP_UNDERRUN_LINES, 0);
    const { width, height } = readSize(file, MDP_SCAN_SIZE);
    const image = { base: file.get(MDP_SCAN_BASE), strideBytes: file.get(MDP_SCAN_STRIDE), width, height };
    if (!isAddressable(image)) return undefined;
    const frame = new Uint8Array(width * height * PIXEL_BYTES);
    let y = 0;
    let blackLines = 0;
    return {
      stepNs: width * NS_PER_PIXEL,
      step(ended) {
        const pixels = frame.subarray(y * width * PIXEL_BYTES, (y + 1) * width * PIXEL_BYTES);
        inSequence(
          run,
          1,
          () => master.read(pixelAddress(image, 0, y), pixels),
          (fault) => {
            if (fault !== undefined) {
              pixels.fill(0);
              engine.set(MDP_UNDERRUN_LINES, ++blackLines);
              engine.reportError(fault);
            }
            if (++y < height) return ended('more');
            panel.show(frame, width, height);
            ended('done');
          },
        );
      },
    };
  }

  const engine = new JobEngine(world, { name, line, registers: MDP_REGISTERS, prepare });
  return engine;
}
