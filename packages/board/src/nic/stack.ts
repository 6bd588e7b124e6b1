/** Both ends of the traffic: the kernel's stack, which checks what arrives and answers it, and the wire, where answers are checked. */
import { assert, type MemoryPort, type PhysAddr } from '@iommu-lab/machine';
import type { NicDriver } from './nic-driver.ts';
import type { PacketPages } from './packet-pages.ts';
import { isSamePacket, packetBytes } from './traffic.ts';

export class NicStack {
  readonly #cpu: MemoryPort;
  readonly #pages: PacketPages;
  readonly #packet: (direction: 'in' | 'out', number: number) => Uint8Array;
  #offered = 0;
  #received = 0;
  #receivedWrong = 0;
  #sent = 0;
  #sentWrong = 0;
  #refused = 0;

  /** @param cpu the CPU's view of memory; @param seed and `length`: of the packets */
  constructor(cpu: MemoryPort, pages: PacketPages, seed: number, length: number) {
    this.#cpu = cpu;
    this.#pages = pages;
    this.#packet = (direction, number) => packetBytes(seed, direction, number, length);
  }

  /** The next packet for the NIC. */
  next(): Uint8Array {
    return this.#packet('in', this.#offered++);
  }

  /** Takes a packet from the driver, looks at all of it, and answers it. @throws LabError as `NicDriver.send` */
  received(driver: NicDriver, buffer: PhysAddr, length: number): void {
    const got = new Uint8Array(length);
    assert(this.#cpu.read(buffer, got), 'a page is memory');
    this.#pages.giveBack(buffer);
    if (!isSamePacket(got, this.#packet('in', this.#received))) this.#receivedWrong++;
    const answer = this.#packet('out', this.#received++);
    const page = this.#pages.take();
    assert(this.#cpu.write(page, answer), 'a page is memory');
    if (driver.send(page, answer.length)) return;
    this.#refused++;
    this.#pages.giveBack(page);
  }

  /** A packet has come out of the NIC. */
  onWire(packet: Uint8Array): void {
    if (!isSamePacket(packet, this.#packet('out', this.#sent++))) this.#sentWrong++;
  }

  /** What did not go as it should; empty when every packet came through and was answered. */
  problems(): readonly string[] {
    const lost = this.#offered - this.#received;
    const unanswered = this.#received - this.#sent - this.#refused;
    return [
      [lost, 'packets were lost on their way in'],
      [this.#receivedWrong, 'packets arrived with wrong bytes'],
      [this.#refused, 'answers found no room on the transmit ring'],
      [unanswered, 'answers never came out'],
      [this.#sentWrong, 'answers came out with wrong bytes'],
    ].flatMap(([count, what]) => (count === 0 ? [] : [`${count} ${what}`]));
  }
}
