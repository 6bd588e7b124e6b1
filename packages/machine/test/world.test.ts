import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  alignDown,
  alignUp,
  assert,
  hex,
  ImpossibleError,
  InterruptLine,
  iova,
  isLabError,
  isPowerOfTwo,
  LabError,
  physAddr,
  Random,
  World,
  type LabEvent,
} from '../src/index.ts';

describe('Random', () => {
  const draw = (random: Random) => Array.from({ length: 20 }, () => random.integer(0, 1_000_000));

  test('the same seed gives the same numbers, another seed others', () => {
    expect(draw(new Random(42))).toEqual(draw(new Random(42)));
    expect(draw(new Random(42))).not.toEqual(draw(new Random(43)));
  });

  test("a fork is shifted neither by its parent's draws nor by another fork's", () => {
    const drawn = new Random(42);
    draw(drawn);
    draw(drawn.fork('other'));
    expect(draw(drawn.fork('mine'))).toEqual(draw(new Random(42).fork('mine')));
    expect(draw(drawn.fork('mine'))).not.toEqual(draw(drawn.fork('other')));
  });

  test('a snapshot is plain data, and a generator of any seed that restores it goes on with the same numbers', () => {
    const random = new Random(42);
    draw(random);
    const snapshot = JSON.parse(JSON.stringify(random.snapshot()));
    const expected = draw(random);
    const other = new Random(43);
    draw(other);
    other.restore(snapshot);
    expect(draw(other)).toEqual(expected);
    // Neither the draws of one nor those of the other have shifted what was kept.
    random.restore(snapshot);
    expect(draw(random)).toEqual(expected);
  });

  test('restored without a snapshot it starts over, by its own seed', () => {
    const random = new Random(42);
    draw(random);
    random.restore();
    expect(draw(random)).toEqual(draw(new Random(42)));
    random.restore(new Random(43).snapshot());
    random.restore();
    expect(draw(random)).toEqual(draw(new Random(42)));
  });

  test('integers stay within both bounds and reach them', () => {
    const random = new Random(1);
    const seen = new Set(Array.from({ length: 200 }, () => random.integer(3, 6)));
    expect([...seen].sort((a, b) => a - b)).toEqual([3, 4, 5, 6]);
  });

  test('oneIn(0) is never, oneIn(1) always', () => {
    const random = new Random(1);
    expect(Array.from({ length: 50 }, () => random.oneIn(0))).not.toContain(true);
    expect(Array.from({ length: 50 }, () => random.oneIn(1))).not.toContain(false);
  });
});

describe('Failpoints', () => {
  test('fail the nth step from now, once, and count the sites', () => {
    const world = new World();
    world.failpoints.failNth(3);
    expect(['a', 'b', 'a', 'b'].map((site) => world.fail(site))).toEqual([false, false, true, false]);
    expect(world.failpoints.hasFired).toBe(true);
    expect([...world.failpoints.hits()]).toEqual([
      ['a', 2],
      ['b', 2],
    ]);
    world.failpoints.reset();
    expect([world.fail('a'), world.failpoints.hasFired]).toEqual([false, false]);
  });

  test('count one site alone when asked to', () => {
    const world = new World();
    world.failpoints.failNth(2, 'a');
    expect(['a', 'b', 'b', 'a', 'a'].map((site) => world.fail(site))).toEqual([
      false,
      false,
      false,
      true,
      false,
    ]);
  });
});

describe('Interposer', () => {
  test('reports steps until the listener leaves, and not the steps a listener takes', () => {
    const { interposer } = new World();
    const seen: string[] = [];
    const leave = interposer.observe((kind, address, sizeBytes) => {
      seen.push(`${kind} ${address}+${sizeBytes}`);
      interposer.notify('store', 99, 4);
    });
    interposer.notify('clean', 64, 32);
    leave();
    interposer.notify('mmio-write', 0, 4);
    expect(seen).toEqual(['clean 64+32']);
  });

  test('a listener that throws does not silence the next step', () => {
    const { interposer } = new World();
    let calls = 0;
    interposer.observe(() => {
      calls++;
      throw new Error('listener');
    });
    expect(() => interposer.notify('store', 0, 4)).toThrow('listener');
    expect(() => interposer.notify('store', 0, 4)).toThrow('listener');
    expect(calls).toBe(2);
  });
});

describe('events and child worlds', () => {
  test('events carry sequence, time, scope and fields', () => {
    const world = new World();
    const events: LabEvent[] = [];
    expect(world.events.isObserved).toBe(false);
    const leave = world.events.subscribe((event) => events.push(event));
    world.emit('iommu:map', { iova: hex(0x1000) });
    world.clock.advance(5);
    world.child('guest').emit('dma:map', {});
    leave();
    world.emit('iommu:unmap', {});
    expect(events).toEqual([
      { seq: 0, ns: 0, scope: 'host', name: 'iommu:map', fields: { iova: '0x00001000' } },
      { seq: 1, ns: 5, scope: 'host/guest', name: 'dma:map', fields: {} },
    ]);
  });

  test('a child shares clock and log, and has failpoints, an interposer and randomness of its own', () => {
    const world = new World({ seed: 9 });
    const guest = world.child('a');
    expect(guest.clock).toBe(world.clock);
    expect(guest.events).toBe(world.events);
    expect(guest.interposer).not.toBe(world.interposer);
    world.failpoints.failNth(1);
    expect([guest.fail('x'), world.fail('x')]).toEqual([false, true]);
    const draw = (w: World) => w.random.integer(0, 2 ** 30);
    expect(draw(guest)).toBe(draw(new World({ seed: 9 }).child('a')));
    expect(draw(world.child('a'))).not.toBe(draw(world.child('b')));
    expect(draw(world)).toBe(draw(new World({ seed: 9 })));
  });
});

describe('errors, addresses, lines', () => {
  test('a LabError is told by its code; the impossible is another class', () => {
    const error = new LabError('EBUSY', 'taken', { by: 'x' });
    expect([isLabError(error), isLabError(error, 'EBUSY'), isLabError(error, 'EIO')]).toEqual([
      true,
      true,
      false,
    ]);
    expect(isLabError(new Error('EBUSY'))).toBe(false);
    expect(() => assert(false, 'no')).toThrow(ImpossibleError);
    expect(isLabError(new ImpossibleError('no'))).toBe(false);
  });

  test.each([-1, 0.5, 2 ** 53, Number.NaN])('%d is no address', (value) => {
    expect(() => physAddr(value)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    expect(() => iova(value)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });

  test('property: alignment brackets a value, also above 32 bits', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 50 }), fc.integer({ min: 0, max: 30 }), (value, log2) => {
        const granule = 2 ** log2;
        const [down, up] = [alignDown(value, granule), alignUp(value, granule)];
        expect(down % granule).toBe(0);
        expect(up % granule).toBe(0);
        expect(value - down).toBeLessThan(granule);
        expect(up - value).toBeLessThan(granule);
        expect(down <= value && value <= up).toBe(true);
      }),
    );
  });

  test('powers of two are exact up to 2^52', () => {
    for (let n = 0; n <= 52; n++) expect(isPowerOfTwo(2 ** n)).toBe(true);
    for (let n = 2; n <= 52; n++) {
      expect(isPowerOfTwo(2 ** n + 1)).toBe(false);
      expect(isPowerOfTwo(2 ** n - 1)).toBe(false);
    }
    expect([0, -2, 0.5, Number.NaN].map(isPowerOfTwo)).toEqual([false, false, false, false]);
  });

  test('an interrupt line tells its listeners of changes only', () => {
    const line = new InterruptLine('nonsecure');
    const levels: boolean[] = [];
    const leave = line.subscribe((isHigh) => levels.push(isHigh));
    line.raise();
    line.raise();
    line.lower();
    line.set(true);
    leave();
    line.lower();
    expect(levels).toEqual([true, false, true]);
    expect(line.isHigh).toBe(false);
  });
});
