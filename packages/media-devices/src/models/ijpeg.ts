/** The JPEG engine: reads a frame strip by strip and writes a baseline JPEG stream behind it. */
import {
  BusMaster,
  type BusPort,
  type InterruptLine,
  type RegisterFile,
  type World,
} from '@iommu-lab/machine';
import {
  IJPEG_CAPACITY,
  IJPEG_DESTINATION_COUNT,
  IJPEG_DESTINATION_LIST,
  IJPEG_LENGTH,
  IJPEG_QUALITY,
  IJPEG_REGISTERS,
  IJPEG_SOURCE_COUNT,
  IJPEG_SOURCE_LIST,
  IJPEG_SOURCE_SIZE,
  IJPEG_SOURCE_STRIDE,
} from '../registers/ijpeg.ts';
import { type Job, JobEngine, type JobFailure, type JobRun, type StepOutcome } from './job-engine.ts';
import { JpegEncoder, STRIP_LINES } from './jpeg/encoder.ts';
import { isAddressable, PIXEL_BYTES, readSize } from './picture.ts';
import { fetchScatterList, movePieces, type Piece, slicePieces, totalBytes } from './scatter-list.ts';

export interface IjpegWiring {
  /** `ijpeg` unless given. */
  readonly name?: string;
  readonly port: BusPort;
  readonly streamIds: { readonly source: number; readonly destination: number };
  readonly line: InterruptLine;
}

const NS_PER_PIXEL = 10;

const CONFIG: JobFailure = { cause: 'config', address: 0 };
const OVERFLOW: JobFailure = { cause: 'overflow', address: 0 };

/**
 * Makes a JPEG engine. A strip of eight lines takes `width * 8 * 10` ns. A failed access ends the job, as does a stream
 * that outgrows CAPACITY (OVERFLOW); what was written before stays, LENGTH is 0.
 */
export function createIjpeg(world: World, wiring: IjpegWiring): JobEngine {
  const { port, streamIds, line, name = 'ijpeg' } = wiring;
  const reader = new BusMaster(world, { name: `${name} source`, streamId: streamIds.source, port });
  const writer = new BusMaster(world, { name: `${name} destination`, streamId: streamIds.destination, port });

  function prepare(file: RegisterFile, run: JobRun): Job | undefined {
    file.set(IJPEG_LENGTH, 0);
    const setup = latch(file);
    return setup === undefined
      ? undefined
      : new EncodeJob(run, setup, reader, writer, (length) => {
          engine.set(IJPEG_LENGTH, length);
        });
  }

  const engine = new JobEngine(world, { name, line, registers: IJPEG_REGISTERS, prepare });
  return engine;
}

interface Setup {
  readonly sourceList: number;
  readonly sourceCount: number;
  readonly strideBytes: number;
  readonly width: number;
  readonly height: number;
  readonly destinationList: number;
  readonly destinationCount: number;
  readonly capacity: number;
  readonly quality: number;
}

function latch(file: RegisterFile): Setup | undefined {
  const setup: Setup = {
    ...readSize(file, IJPEG_SOURCE_SIZE),
    sourceList: file.get(IJPEG_SOURCE_LIST),
    sourceCount: file.get(IJPEG_SOURCE_COUNT) & 0xffff,
    strideBytes: file.get(IJPEG_SOURCE_STRIDE),
    destinationList: file.get(IJPEG_DESTINATION_LIST),
    destinationCount: file.get(IJPEG_DESTINATION_COUNT) & 0xffff,
    capacity: file.get(IJPEG_CAPACITY),
    quality: file.get(IJPEG_QUALITY) & 0x7f,
  };
  const { width, height, strideBytes, quality } = setup;
  const isSound =
    isAddressable({ base: 0, strideBytes, width, height }) &&
    setup.sourceCount > 0 &&
    setup.destinationCount > 0 &&
    setup.sourceList % 4 === 0 &&
    setup.destinationList % 4 === 0 &&
    quality >= 1 &&
    quality <= 100;
  return isSound ? setup : undefined;
}

class EncodeJob implements Job {
  readonly stepNs: number;
  readonly #run: JobRun;
  readonly #setup: Setup;
  readonly #reader: BusMaster;
  readonly #writer: BusMaster;
  readonly #encoder: JpegEncoder;
  readonly #setLength: (bytes: number) => void;
  #source: readonly Piece[] | undefined;
  #destination: readonly Piece[] | undefined;
  #nextLine = 0;
  #written = 0;

  constructor(
    run: JobRun,
    setup: Setup,
    reader: BusMaster,
    writer: BusMaster,
    setLength: (bytes: number) => void,
  ) {
    this.#run = run;
    this.#setup = setup;
    this.#reader = reader;
    this.#writer = writer;
    this.#setLength = setLength;
    this.#encoder = new JpegEncoder(setup.width, setup.height, setup.quality);
    this.stepNs = setup.width * STRIP_LINES * NS_PER_PIXEL;
  }

  step(ended: (outcome: StepOutcome) => void): void {
    if (this.#source === undefined) this.#fetchSourceList(ended);
    else if (this.#destination === undefined) this.#fetchDestinationList(ended);
    else this.#encodeStrip(this.#source, this.#destination, ended);
  }

  #fetchSourceList(ended: (outcome: StepOutcome) => void): void {
    const { sourceList, sourceCount, strideBytes, width, height } = this.#setup;
    fetchScatterList(this.#run, this.#reader, sourceList, sourceCount, (list, fault) => {
      if (list === undefined) return ended({ cause: 'bus', address: fault });
      if (totalBytes(list) < (height - 1) * strideBytes + width * PIXEL_BYTES) return ended(CONFIG);
      this.#source = list;
      ended('more');
    });
  }

  #fetchDestinationList(ended: (outcome: StepOutcome) => void): void {
    const { destinationList, destinationCount, capacity } = this.#setup;
    fetchScatterList(this.#run, this.#writer, destinationList, destinationCount, (list, fault) => {
      if (list === undefined) return ended({ cause: 'bus', address: fault });
      if (totalBytes(list) < capacity) return ended(CONFIG);
      this.#destination = list;
      this.#append(list, this.#encoder.header, ended, 'more');
    });
  }

  #encodeStrip(
    source: readonly Piece[],
    destination: readonly Piece[],
    ended: (outcome: StepOutcome) => void,
  ): void {
    const { width, height, strideBytes } = this.#setup;
    const lineBytes = width * PIXEL_BYTES;
    const lineCount = Math.min(STRIP_LINES, height - this.#nextLine);
    const pixels = new Uint8Array(lineCount * lineBytes);
    const pieces = Array.from({ length: lineCount }, (_, i) =>
      slicePieces(source, (this.#nextLine + i) * strideBytes, lineBytes),
    ).flat();
    movePieces(this.#run, this.#reader, pieces, pixels, 'read', (fault) => {
      if (fault !== undefined) return ended({ cause: 'bus', address: fault });
      this.#nextLine += lineCount;
      const coded = this.#encoder.encodeStrip(pixels, lineCount);
      if (this.#nextLine < height) return this.#append(destination, coded, ended, 'more');
      this.#append(destination, Uint8Array.from([...coded, ...this.#encoder.finish()]), ended, 'done');
    });
  }

  #append(
    destination: readonly Piece[],
    bytes: Uint8Array,
    ended: (outcome: StepOutcome) => void,
    then: 'more' | 'done',
  ): void {
    if (this.#written + bytes.length > this.#setup.capacity) return ended(OVERFLOW);
    const pieces = slicePieces(destination, this.#written, bytes.length);
    movePieces(this.#run, this.#writer, pieces, bytes, 'write', (fault) => {
      if (fault !== undefined) return ended({ cause: 'bus', address: fault });
      this.#written += bytes.length;
      if (then === 'done') this.#setLength(this.#written);
      ended(then);
    });
  }
}
