/** A bench for one device: memory, a gate on its bus, its interrupt line, and its registers. */
import {
  DirectPort,
  InterruptLine,
  type MmioDevice,
  PhysicalMemory,
  physAddr,
  type Register,
  World,
} from '@iommu-lab/machine';
import { BUSY, COMMAND, ENABLE, STATUS } from '../../src/models/index.ts';
import { GatePort } from './gate-port.ts';

export const RAM_BASE = 0x4000_0000;
export const RAM_BYTES = 0x10_0000;

export const DONE = 1;
export const ERROR = 2;
export const CONFIG = 4;
export const OVERFLOW = 8;

export class Bench {
  readonly world: World = new World();
  readonly memory: PhysicalMemory = new PhysicalMemory([{ base: RAM_BASE, sizeBytes: RAM_BYTES }]);
  readonly port: GatePort = new GatePort(new DirectPort(this.memory));
  readonly line: InterruptLine = new InterruptLine('irq');

  /** Programs the registers, starts, and runs until nothing is left to do. @returns STATUS */
  run(device: MmioDevice, program: readonly (readonly [Register, number])[]): number {
    this.start(device, program);
    this.world.clock.run();
    return device.read32(STATUS.offset);
  }

  start(device: MmioDevice, program: readonly (readonly [Register, number])[]): void {
    device.write32(ENABLE.offset, 3);
    device.write32(STATUS.offset, 0xffffffff);
    for (const [register, value] of program) device.write32(register.offset, value);
    device.write32(COMMAND.offset, 1);
  }

  isBusy(device: MmioDevice): boolean {
    return device.read32(BUSY.offset) === 1;
  }

  write(address: number, bytes: Uint8Array): void {
    if (!this.memory.write(physAddr(address), bytes)) throw new Error('outside the bench RAM');
  }

  read(address: number, sizeBytes: number): Uint8Array {
    const bytes = new Uint8Array(sizeBytes);
    if (!this.memory.read(physAddr(address), bytes)) throw new Error('outside the bench RAM');
    return bytes;
  }
}

export function size(width: number, height: number): number {
  return ((height << 16) | width) >>> 0;
}
