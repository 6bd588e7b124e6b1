/** The hardware from its pins: registers, memory, a bus master, an interrupt line. */
import { describe, expect, test } from '@jest/globals';
import { BusMaster, InterruptLine, PhysicalMemory, type PhysAddr, World } from '@iommu-lab/machine';
import { FIRST_IOVA, FlatHardware, LAST_IOVA, PAGE_BYTES, registers } from '../src/index.ts';

const {
  CONTROL,
  DOORBELLS,
  FAULT_ADDRESS,
  FAULT_STATUS,
  INVALIDATE_ALL,
  INVALIDATE_PAGE,
  STREAMS,
  tableRegister,
} = registers;

const RAM = 0x4000_0000;
/** Worked out by hand: 16 entries from the start of the window, then the last one. */
const TABLE = RAM + 0x1_0000;
const TRANSLATE = TABLE + 1;
const PAGE_A = RAM + 0x4_0000;
const PAGE_B = RAM + 0x4_4000;

function setUp(cachedEntries = 4) {
  const world = new World();
  const memory = new PhysicalMemory([{ base: RAM, sizeBytes: 0x10_0000 }]);
  const faultLine = new InterruptLine('fault');
  const hardware = new FlatHardware({ memory, faultLine }, { streams: 2, cachedEntries });
  const write = (register: { offset: number }, value: number): void =>
    hardware.write32(register.offset, value);
  const read = (register: { offset: number }): number => hardware.read32(register.offset);
  const entry = (index: number, word: number): void => {
    memory.write32((TABLE + 4 * index) as PhysAddr, word);
  };
  const word = (index: number): number => memory.read32((TABLE + 4 * index) as PhysAddr);
  const master = new BusMaster(world, { name: 'dma', streamId: 1, port: hardware });
  const readWord = (iova: number): number | string => {
    const bytes = new Uint8Array(4);
    const { state } = master.read(iova, bytes);
    return state === 'done' ? new DataView(bytes.buffer).getUint32(0, true) : state;
  };
  const store = (iova: number): string => master.write(iova, Uint8Array.of(1, 2, 3, 4)).state;
  memory.write32(PAGE_A as PhysAddr, 0xaaaaaaaa);
  memory.write32(PAGE_B as PhysAddr, 0xbbbbbbbb);
  write(CONTROL, 1);
  write(tableRegister(1), TRANSLATE);
  return { memory, hardware, faultLine, write, read, entry, word, readWord, store };
}

describe('translation', () => {
  test('an entry leads to its 16 KiB page: bits 31 to 14 the address, bit 0 read, bit 1 write', () => {
    const { entry, readWord, store, memory } = setUp();
    entry(0, 0x4004_0003);
    expect(readWord(FIRST_IOVA)).toBe(0xaaaaaaaa);
    expect(store(FIRST_IOVA + 0x3ffc)).toBe('done');
    expect(memory.read32((PAGE_A + 0x3ffc) as PhysAddr)).toBe(0x04030201);
  });

  test('each right is refused by itself', () => {
    const { entry, readWord, store } = setUp();
    entry(1, 0x4004_0001);
    entry(2, 0x4004_0002);
    expect([readWord(FIRST_IOVA + PAGE_BYTES), store(FIRST_IOVA + PAGE_BYTES)]).toEqual([
      0xaaaaaaaa,
      'faulted',
    ]);
    expect([store(FIRST_IOVA + 2 * PAGE_BYTES), readWord(FIRST_IOVA + 2 * PAGE_BYTES)]).toEqual([
      'done',
      'faulted',
    ]);
  });

  test('the window ends where the table does', () => {
    const { entry, readWord } = setUp();
    entry(0x3fff, 0x4004_0003);
    expect(readWord(LAST_IOVA - 0x3fff)).toBe(0xaaaaaaaa);
    expect([readWord(LAST_IOVA + 1), readWord(FIRST_IOVA - 4)]).toEqual(['faulted', 'faulted']);
  });

  test('out of reset, switched off or without a table everything is refused', () => {
    const { hardware, write, entry, readWord, read } = setUp();
    entry(0, 0x4004_0003);
    write(tableRegister(1), TABLE);
    expect(readWord(FIRST_IOVA)).toBe('faulted');
    write(tableRegister(1), TRANSLATE);
    write(CONTROL, 0);
    expect(readWord(FIRST_IOVA)).toBe('faulted');
    write(CONTROL, 1);
    expect(readWord(FIRST_IOVA)).toBe(0xaaaaaaaa);
    hardware.reset();
    expect([readWord(FIRST_IOVA), read(STREAMS)]).toEqual(['faulted', 2]);
  });
});

describe('cached entries', () => {
  test('an entry is used after it is gone from the table, until its page is invalidated', () => {
    const { entry, readWord, write } = setUp();
    entry(3, 0x4004_0003);
    const iova = FIRST_IOVA + 3 * PAGE_BYTES;
    expect(readWord(iova)).toBe(0xaaaaaaaa);
    entry(3, 0x4004_4003);
    expect(readWord(iova)).toBe(0xaaaaaaaa);
    write(INVALIDATE_PAGE, iova - PAGE_BYTES);
    expect(readWord(iova)).toBe(0xaaaaaaaa);
    write(INVALIDATE_PAGE, iova + 0x123);
    expect(readWord(iova)).toBe(0xbbbbbbbb);
    entry(3, 0);
    write(INVALIDATE_ALL, 0);
    expect(readWord(iova)).toBe('faulted');
  });

  test('what is not valid is not cached', () => {
    const { entry, readWord } = setUp();
    expect(readWord(FIRST_IOVA)).toBe('faulted');
    entry(0, 0x4004_0003);
    expect(readWord(FIRST_IOVA)).toBe(0xaaaaaaaa);
  });

  test('the oldest goes first', () => {
    const { entry, readWord } = setUp(2);
    for (const i of [0, 1, 2]) entry(i, 0x4004_0003);
    for (const i of [0, 1, 2]) readWord(FIRST_IOVA + i * PAGE_BYTES);
    for (const i of [0, 1, 2]) entry(i, 0);
    expect([2, 1].map((i) => readWord(FIRST_IOVA + i * PAGE_BYTES))).toEqual([0xaaaaaaaa, 0xaaaaaaaa]);
    expect(readWord(FIRST_IOVA)).toBe('faulted');
  });

  test('a write to the table register drops what its stream had', () => {
    const { entry, readWord, write } = setUp();
    entry(0, 0x4004_0003);
    readWord(FIRST_IOVA);
    entry(0, 0x4004_4003);
    write(tableRegister(0), TRANSLATE);
    expect(readWord(FIRST_IOVA)).toBe(0xaaaaaaaa);
    write(tableRegister(1), TRANSLATE);
    expect(readWord(FIRST_IOVA)).toBe(0xbbbbbbbb);
  });
});

describe('dirty bits', () => {
  const NOTING = TRANSLATE + 2;

  test('without NOTE_WRITES an entry stays as it is', () => {
    const { entry, word, store } = setUp();
    entry(0, 0x4004_0003);
    expect([store(FIRST_IOVA), word(0)]).toEqual(['done', 0x4004_0003]);
  });

  test('the first write sets bit 2, a read does not, and neither does a write that is refused', () => {
    const { write, entry, word, readWord, store } = setUp();
    write(tableRegister(1), NOTING);
    entry(0, 0x4004_0003);
    entry(1, 0x4004_0001);
    readWord(FIRST_IOVA);
    expect([store(FIRST_IOVA + PAGE_BYTES), word(0), word(1)]).toEqual(['faulted', 0x4004_0003, 0x4004_0001]);
    expect([store(FIRST_IOVA), word(0)]).toEqual(['done', 0x4004_0007]);
    expect(readWord(FIRST_IOVA)).toBe(0x04030201);
  });

  test('what is cached as dirty is not noted again until it is invalidated', () => {
    const { write, entry, word, store } = setUp();
    write(tableRegister(1), NOTING);
    entry(0, 0x4004_0003);
    store(FIRST_IOVA);
    entry(0, 0x4004_0003);
    expect([store(FIRST_IOVA), word(0)]).toEqual(['done', 0x4004_0003]);
    write(INVALIDATE_PAGE, FIRST_IOVA);
    expect([store(FIRST_IOVA), word(0)]).toEqual(['done', 0x4004_0007]);
  });

  test('a write through an entry that is cached as clean sets the bit in what the table says now', () => {
    const { write, entry, word, readWord, store } = setUp();
    write(tableRegister(1), NOTING);
    for (const i of [0, 1]) entry(i, 0x4004_0003);
    for (const i of [0, 1]) readWord(FIRST_IOVA + i * PAGE_BYTES);
    entry(0, 0);
    entry(1, 0x4004_4003);
    expect([store(FIRST_IOVA), word(0)]).toEqual(['faulted', 0]);
    expect([store(FIRST_IOVA + PAGE_BYTES), word(1)]).toEqual(['done', 0x4004_4007]);
    expect(readWord(FIRST_IOVA + PAGE_BYTES)).toBe(0x04030201);
  });

  test('noting a page that is cached throws no other entry out', () => {
    const { write, entry, readWord, store } = setUp(2);
    write(tableRegister(1), NOTING);
    for (const i of [0, 1]) entry(i, 0x4004_0003);
    for (const i of [0, 1]) readWord(FIRST_IOVA + i * PAGE_BYTES);
    store(FIRST_IOVA + PAGE_BYTES);
    entry(0, 0);
    expect(readWord(FIRST_IOVA)).toBe(0x04030201);
  });

  test('a table that takes no stores ends the write as one that cannot be read', () => {
    const { memory, write, entry, store, read } = setUp();
    write(tableRegister(1), NOTING);
    entry(0, 0x4004_0003);
    memory.write32 = () => false;
    expect([store(FIRST_IOVA), read(FAULT_STATUS)]).toEqual(['faulted', 0b1011 + (1 << 8)]);
  });
});

describe('the doorbell page', () => {
  const BELL = 0x1800_0000;
  /** (0x18000000 - 0x10000000) / 16 KiB. */
  const BELL_INDEX = 0x2000;

  test('writes are counted and go nowhere, whatever the table says', () => {
    const { entry, store, read, memory } = setUp();
    entry(BELL_INDEX, 0x4004_0003);
    expect([store(BELL), store(BELL + 0x3ffc), read(DOORBELLS)]).toEqual(['done', 'done', 2]);
    expect([memory.read32(PAGE_A as PhysAddr), memory.read32((PAGE_A + 0x3ffc) as PhysAddr)]).toEqual([
      0xaaaaaaaa, 0,
    ]);
  });

  test('its neighbours are pages like any other', () => {
    const { entry, store, read } = setUp();
    entry(BELL_INDEX - 1, 0x4004_0003);
    entry(BELL_INDEX + 1, 0x4004_4003);
    expect([store(BELL - 4), store(BELL + PAGE_BYTES), read(DOORBELLS)]).toEqual(['done', 'done', 0]);
  });

  test('a read of it finds no entry', () => {
    const { entry, readWord, read } = setUp();
    entry(BELL_INDEX, 0x4004_0003);
    expect([readWord(BELL + 8), read(FAULT_STATUS), read(FAULT_ADDRESS)]).toEqual([
      'faulted',
      0b0001 + (1 << 8),
      BELL + 8,
    ]);
  });

  test('a stream without a table does not ring', () => {
    const { write, store, read } = setUp();
    write(tableRegister(1), 0);
    expect([store(BELL), read(DOORBELLS)]).toEqual(['faulted', 0]);
  });
});

describe('faults', () => {
  test.each([
    ['no entry', 0, 0b0001],
    ['refused by its entry', 0x4004_0002, 0b0101],
  ])('a read with %s', (_name, word, status) => {
    const { entry, readWord, read, faultLine } = setUp();
    entry(5, word);
    readWord(FIRST_IOVA + 5 * PAGE_BYTES + 0x10);
    expect(read(FAULT_STATUS)).toBe(status + (1 << 8));
    expect(read(FAULT_ADDRESS)).toBe(FIRST_IOVA + 5 * PAGE_BYTES + 0x10);
    expect(faultLine.isHigh).toBe(true);
  });

  test('a write whose table cannot be read', () => {
    const { write, store, read } = setUp();
    write(tableRegister(1), 0x7000_0001);
    expect(store(FIRST_IOVA)).toBe('faulted');
    expect(read(FAULT_STATUS)).toBe(0b1011 + (1 << 8));
  });

  test('the first is kept, later ones are only told of, and acknowledging clears all', () => {
    const { read, write, readWord, store, faultLine } = setUp();
    readWord(FIRST_IOVA);
    store(FIRST_IOVA + 64);
    expect([read(FAULT_STATUS), read(FAULT_ADDRESS)]).toEqual([0x111, FIRST_IOVA]);
    write(FAULT_STATUS, 0x110);
    expect([read(FAULT_STATUS), faultLine.isHigh]).toEqual([0x111, true]);
    write(FAULT_STATUS, 1);
    expect([read(FAULT_STATUS), faultLine.isHigh]).toEqual([0, false]);
  });
});

test.each([0, 65, 1.5])('%d streams are refused', (streams) => {
  const wiring = { memory: new PhysicalMemory([]), faultLine: new InterruptLine('fault') };
  expect(() => new FlatHardware(wiring, { streams, cachedEntries: 1 })).toThrow('EINVAL');
});
