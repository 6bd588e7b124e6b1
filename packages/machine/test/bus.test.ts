import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  BusMaster,
  DirectPort,
  PhysicalMemory,
  physAddr,
  World,
  type AccessStatus,
  type BusAccess,
  type BusPort,
} from '../src/index.ts';

interface Seen {
  readonly address: number;
  readonly offset: number;
  readonly length: number;
}

/** A port that remembers accesses and answers from a list (`done` once it is used up). */
class RecordingPort implements BusPort {
  readonly seen: Seen[] = [];
  readonly parked: BusAccess[] = [];
  readonly #answers: AccessStatus[];

  constructor(answers: AccessStatus[] = []) {
    this.#answers = answers;
  }

  access(access: BusAccess): AccessStatus {
    this.seen.push({ address: access.address, offset: access.offset, length: access.length });
    const answer = this.#answers.shift() ?? 'done';
    if (answer === 'parked') this.parked.push(access);
    return answer;
  }
}

function setup(answers: AccessStatus[] = []) {
  const world = new World();
  const port = new RecordingPort(answers);
  return { world, port, master: new BusMaster(world, { name: 'vfe', streamId: 4, port }) };
}

describe('BusMaster', () => {
  test('issues accesses that lie within a page each', () => {
    const { master, port } = setup();
    const transfer = master.write(0x1ff0, new Uint8Array(0x1020));
    expect(transfer.state).toBe('done');
    expect(port.seen).toEqual([
      { address: 0x1ff0, offset: 0, length: 0x10 },
      { address: 0x2000, offset: 0x10, length: 0x1000 },
      { address: 0x3000, offset: 0x1010, length: 0x10 },
    ]);
  });

  test('property: the accesses cover the transfer once, in order, and none crosses a page', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 ** 40 }),
        fc.integer({ min: 0, max: 20_000 }),
        (address, size) => {
          const { master, port } = setup();
          const transfer = master.read(address, new Uint8Array(size));
          let next = address;
          for (const access of port.seen) {
            expect(access.address).toBe(next);
            expect(access.length).toBeGreaterThan(0);
            expect(Math.floor(next / 4096)).toBe(Math.floor((next + access.length - 1) / 4096));
            next += access.length;
          }
          expect(next).toBe(address + size);
          expect([transfer.state, transfer.doneBytes, transfer.sizeBytes]).toEqual(['done', size, size]);
        },
      ),
    );
  });

  test('a fault ends the transfer where the access that faulted began', () => {
    const { master, port } = setup(['done', 'faulted']);
    const transfer = master.write(0x1800, new Uint8Array(0x2000));
    expect([transfer.state, transfer.doneBytes]).toEqual(['faulted', 0x800]);
    expect(port.seen).toHaveLength(2);
  });

  test('a parked access waits, retries from its cursor and goes on', () => {
    const { world, master, port } = setup(['done', 'parked', 'parked']);
    const ends: string[] = [];
    const transfer = master.read(0x1000, new Uint8Array(0x3000));
    transfer.onEnd((state) => ends.push(state));
    expect([transfer.state, transfer.doneBytes]).toEqual(['pending', 0x1000]);
    expect(world.clock.waits()).toEqual(['vfe (stream 4): read at 0x00002000 is stalled']);

    port.parked[0]?.resume('retry');
    expect(transfer.state).toBe('pending');
    expect(world.clock.waits()).toHaveLength(1);

    port.parked[1]?.resume('retry');
    expect([transfer.state, transfer.doneBytes, ends]).toEqual(['done', 0x3000, ['done']]);
    expect(port.seen.map((access) => access.address)).toEqual([0x1000, 0x2000, 0x2000, 0x2000, 0x3000]);
    expect(world.clock.waits()).toEqual([]);
  });

  test('a parked access that is terminated faults, and issues nothing more', () => {
    const { world, master, port } = setup(['parked']);
    const transfer = master.write(0x1000, new Uint8Array(0x2000));
    port.parked[0]?.resume('terminate');
    expect([transfer.state, transfer.doneBytes, port.seen.length]).toEqual(['faulted', 0, 1]);
    expect(world.clock.waits()).toEqual([]);
  });

  test('an abandoned transfer ends with the access that was parked, and issues nothing more', () => {
    const { master, port } = setup(['done', 'parked', 'parked']);
    const ends: string[] = [];
    const transfer = master.write(0x1000, new Uint8Array(0x4000));
    transfer.onEnd((state) => ends.push(state));
    transfer.abandon();
    expect(transfer.state).toBe('pending');
    port.parked[0]?.resume('retry'); // parks once more
    port.parked[1]?.resume('retry');
    expect([transfer.state, transfer.doneBytes, ends]).toEqual(['faulted', 0x2000, ['faulted']]);
    expect(port.seen.map((access) => access.address)).toEqual([0x1000, 0x2000, 0x2000, 0x2000]);
  });

  test('abandoning a transfer in its last access, or one that has ended, changes nothing', () => {
    const { master, port } = setup(['parked']);
    const transfer = master.write(0x1000, new Uint8Array(16));
    transfer.abandon();
    port.parked[0]?.resume('retry');
    expect(transfer.state).toBe('done');
    transfer.abandon();
    expect(transfer.state).toBe('done');
  });

  test('an ignored read gets zeros in the bytes of that access alone, and the transfer goes on', () => {
    const { world, master, port } = setup(['done', 'parked']);
    const data = new Uint8Array(0x2800).fill(0xee);
    const transfer = master.read(0x1800, data);
    expect(transfer.doneBytes).toBe(0x800);
    port.parked[0]?.resume('ignore');
    expect([transfer.state, transfer.doneBytes]).toEqual(['done', 0x2800]);
    expect(port.seen.map((access) => access.address)).toEqual([0x1800, 0x2000, 0x3000]);
    expect(data.findIndex((byte) => byte === 0)).toBe(0x800);
    expect(data.lastIndexOf(0)).toBe(0x17ff);
    expect(data.filter((byte) => byte === 0)).toHaveLength(0x1000);
    expect(world.clock.waits()).toEqual([]);
  });

  test('an ignored write leaves its bytes alone, and the next access may still fault', () => {
    const { master, port } = setup(['parked', 'faulted']);
    const data = new Uint8Array(0x1800).fill(0xee);
    const transfer = master.write(0x1000, data);
    port.parked[0]?.resume('ignore');
    expect([transfer.state, transfer.doneBytes]).toEqual(['faulted', 0x1000]);
    expect(data.every((byte) => byte === 0xee)).toBe(true);
  });

  test('an abandoned transfer whose access is ignored issues nothing more; if nothing was left, it is done', () => {
    const { master, port } = setup(['parked']);
    const transfer = master.read(0x1000, new Uint8Array(0x2000));
    transfer.abandon();
    port.parked[0]?.resume('ignore');
    expect([transfer.state, transfer.doneBytes, port.seen.length]).toEqual(['faulted', 0x1000, 1]);

    const last = setup(['parked']);
    const whole = last.master.read(0x1000, new Uint8Array(0x1000));
    whole.abandon();
    last.port.parked[0]?.resume('ignore');
    expect([whole.state, whole.doneBytes]).toEqual(['done', 0x1000]);
  });

  test('onEnd of an ended transfer answers at once', () => {
    const ends: string[] = [];
    setup(['faulted'])
      .master.read(0, new Uint8Array(1))
      .onEnd((state) => ends.push(state));
    expect(ends).toEqual(['faulted']);
  });

  test.each([-1, 0.5, Number.NaN])('an address of %d is refused', (address) => {
    expect(() => setup().master.read(address, new Uint8Array(1))).toThrow(
      expect.objectContaining({ code: 'EINVAL' }),
    );
  });
});

describe('a transfer that is restored', () => {
  /** A write that waits in its second page, and its snapshot as text keeps it. */
  function pendingWrite() {
    const { master, port } = setup(['done', 'parked']);
    const transfer = master.write(0x1800, new Uint8Array(0x2000));
    return { master, port, transfer, snapshot: JSON.parse(JSON.stringify(transfer.snapshot())) };
  }

  test('stands where it stood and is not issued: the access is the parked one again', () => {
    const { port, transfer, snapshot } = pendingWrite();
    const { world, master, port: nextPort } = setup();
    const data = new Uint8Array(0x2000);
    const restored = master.restore(snapshot, data);
    expect(nextPort.seen).toEqual([]);
    expect([restored.state, restored.doneBytes, restored.startAddress, restored.sizeBytes]).toEqual([
      'pending',
      0x800,
      0x1800,
      0x2000,
    ]);
    const { address, offset, length, isWrite, streamId, masterName, attributes } = port
      .parked[0] as BusAccess;
    expect(restored).toMatchObject({ address, offset, length, isWrite, streamId, masterName, attributes });
    expect([address, offset, length]).toEqual([0x2000, 0x800, 0x1000]);
    expect(restored.data).toBe(data);
    expect(restored.snapshot()).toEqual(transfer.snapshot());
    expect(world.clock.waits()).toEqual(['vfe (stream 4): write at 0x00002000 is stalled']);
  });

  test('goes on as it would have: retried from its cursor to the end', () => {
    const { snapshot } = pendingWrite();
    const { world, master, port } = setup();
    const restored = master.restore(snapshot, new Uint8Array(0x2000));
    const ends: string[] = [];
    restored.onEnd((state) => ends.push(state));
    restored.resume('retry');
    expect([restored.state, restored.doneBytes, ends]).toEqual(['done', 0x2000, ['done']]);
    expect(port.seen.map((access) => access.address)).toEqual([0x2000, 0x3000]);
    expect(world.clock.waits()).toEqual([]);
  });

  test('a read keeps its direction: ignored, it gets zeros', () => {
    const { master } = setup(['parked']);
    const snapshot = master.read(0x1000, new Uint8Array(8)).snapshot();
    const data = new Uint8Array(8).fill(0xee);
    const restored = setup().master.restore(snapshot, data);
    expect(restored.isWrite).toBe(false);
    restored.resume('ignore');
    expect([restored.state, ...data]).toEqual(['done', 0, 0, 0, 0, 0, 0, 0, 0]);
  });

  test('one that was abandoned still is', () => {
    const { transfer } = pendingWrite();
    transfer.abandon();
    const { master, port } = setup();
    const restored = master.restore(transfer.snapshot(), new Uint8Array(0x2000));
    restored.resume('retry');
    expect([restored.state, restored.doneBytes, port.seen.length]).toEqual(['faulted', 0x1800, 1]);
  });

  test.each([
    ['bytes that end where it stands', { doneBytes: 0x800 }],
    ['fewer bytes than it had moved', { doneBytes: 0x900 }],
    ['a place before its start', { doneBytes: -1 }],
    ['a start that is no address', { startAddress: -4 }],
  ])('%s is EINVAL', (_, wrong) => {
    const { world, master } = setup();
    const snapshot = { startAddress: 0x1800, doneBytes: 0, isWrite: true, isAbandoned: false, ...wrong };
    expect(() => master.restore(snapshot, new Uint8Array(0x800))).toThrow(
      expect.objectContaining({ code: 'EINVAL' }),
    );
    expect(world.clock.waits()).toEqual([]);
  });
});

describe('DirectPort', () => {
  test('moves bytes at physical addresses and faults in a hole, keeping the pages before it', () => {
    const memory = new PhysicalMemory([{ base: 0x1000, sizeBytes: 0x2000 }]);
    const master = new BusMaster(new World(), { name: 'dma', streamId: 0, port: new DirectPort(memory) });
    const data = Uint8Array.from({ length: 0x3000 }, (_, i) => i % 251);
    const write = master.write(0x1000, data);
    expect([write.state, write.doneBytes]).toEqual(['faulted', 0x2000]);
    const back = new Uint8Array(0x2000);
    expect(master.read(0x1000, back).state).toBe('done');
    expect(back).toEqual(data.subarray(0, 0x2000));
    expect(memory.read32(physAddr(0x3000))).toBe(-1);
  });
});
