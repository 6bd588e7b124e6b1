import { beforeEach, describe, expect, test } from '@jest/globals';
import { InterruptLine, World } from '@iommu-lab/machine';
import { InterruptController } from '../src/index.ts';

let world: World;
let controller: InterruptController;
let line: InterruptLine;
let calls: string[];

beforeEach(() => {
  world = new World();
  controller = new InterruptController(world);
  line = new InterruptLine('dev');
  controller.connect(7, line);
  calls = [];
});

/** A handler that lowers its line when it is high. */
function handlerOf(name: string, wire: InterruptLine = line): () => boolean {
  return () => {
    calls.push(name);
    const isMine = wire.isHigh;
    wire.lower();
    return isMine;
  };
}

describe('delivery', () => {
  test('a raised line runs its handler as a clock task, not inside the raise', () => {
    controller.request(7, 'dev', handlerOf('dev'));
    line.raise();
    expect(calls).toEqual([]);
    world.clock.run();
    expect(calls).toEqual(['dev']);
    expect(controller.count(7)).toBe(1);
  });

  test('a level that stays high is delivered again', () => {
    let work = 3;
    controller.request(7, 'dev', () => {
      if (--work === 0) line.lower();
      return true;
    });
    line.raise();
    world.clock.run();
    expect(controller.count(7)).toBe(3);
  });

  test('a pulse that ended before the task ran is lost', () => {
    controller.request(7, 'dev', handlerOf('dev'));
    line.raise();
    line.lower();
    world.clock.run();
    expect(calls).toEqual([]);
    expect(controller.count(7)).toBe(0);
  });

  test('a level that was there before its handler is delivered to it; so is one on a wire that is connected high', () => {
    line.raise();
    controller.request(7, 'dev', handlerOf('dev'));
    world.clock.run();
    expect(calls).toEqual(['dev']);
    const second = new InterruptLine('second');
    second.raise();
    controller.connect(7, second);
    controller.request(7, 'second', handlerOf('second', second));
    world.clock.run();
    expect(calls).toEqual(['dev', 'dev', 'second']);
  });

  test('all handlers of a shared interrupt run, in the order they came, also when the first took it', () => {
    const other = new InterruptLine('other');
    controller.connect(7, other);
    controller.request(7, 'dev', handlerOf('dev'));
    controller.request(7, 'other', handlerOf('other', other));
    line.raise();
    other.raise();
    world.clock.run();
    expect(calls).toEqual(['dev', 'other']);
  });

  test('a handler that frees another in the same round: the freed one does not run', () => {
    let freeSecond = (): void => undefined;
    controller.request(7, 'first', () => {
      freeSecond();
      return handlerOf('first')();
    });
    freeSecond = controller.request(7, 'second', handlerOf('second'));
    line.raise();
    world.clock.run();
    expect(calls).toEqual(['first']);
  });

  test('a freed handler, and a wire taken off, are not heard any more', () => {
    const free = controller.request(7, 'dev', handlerOf('dev'));
    free();
    free();
    line.raise();
    world.clock.run();
    const other = new InterruptLine('other');
    const disconnect = controller.connect(8, other);
    controller.request(8, 'other', handlerOf('other', other));
    disconnect();
    other.raise();
    world.clock.run();
    expect(calls).toEqual([]);
  });
});

describe('refusals', () => {
  test('nothing is wired there: EINVAL from request, mask, unmask and onEnd', () => {
    const noWire = expect.objectContaining({ code: 'EINVAL' });
    expect(() => controller.request(9, 'x', () => true)).toThrow(noWire);
    expect(() => controller.mask(9)).toThrow(noWire);
    expect(() => controller.unmask(9)).toThrow(noWire);
    expect(() => controller.onEnd(9, () => undefined)).toThrow(noWire);
  });

  test('who does not share is alone: EBUSY from either side, with the name of who has it', () => {
    const busy = expect.objectContaining({ code: 'EBUSY', message: expect.stringContaining('mine') });
    const free = controller.request(7, 'mine', () => true, { isShared: false });
    expect(() => controller.request(7, 'x', () => true)).toThrow(busy);
    free();
    controller.request(7, 'mine', () => true);
    expect(() => controller.request(7, 'x', () => true, { isShared: false })).toThrow(busy);
  });

  test('nobody handles it 100 times in a row: the interrupt is switched off and reported', () => {
    const events: string[] = [];
    world.events.subscribe((e) => events.push(e.name));
    let handled = false;
    let rounds = 0;
    controller.request(7, 'deaf', () => {
      rounds++;
      // Handled once at round 60: the count starts again.
      handled = rounds === 60;
      return handled;
    });
    line.raise();
    world.clock.run();
    expect(rounds).toBe(160);
    expect(events).toEqual(['irq:nobody_cared']);
    line.lower();
    line.raise();
    world.clock.run();
    expect(rounds).toBe(160);
  });

  test('a handler that is requested later gives an interrupt that was switched off another chance', () => {
    const freeDeaf = controller.request(7, 'deaf', () => false);
    line.raise();
    world.clock.run();
    freeDeaf();
    controller.request(7, 'dev', () => {
      calls.push('dev');
      line.lower();
      return true;
    });
    world.clock.run();
    expect(calls).toEqual(['dev']);
  });
});

describe('masking', () => {
  test('a masked interrupt waits; the level is delivered at the last unmask', () => {
    controller.request(7, 'dev', handlerOf('dev'));
    controller.mask(7);
    controller.mask(7);
    line.raise();
    world.clock.run();
    controller.unmask(7);
    world.clock.run();
    expect(calls).toEqual([]);
    expect(controller.isMasked(7)).toBe(true);
    controller.unmask(7);
    world.clock.run();
    expect(calls).toEqual(['dev']);
    expect(controller.isMasked(7)).toBe(false);
  });

  test('a mask reaches an interrupt that is already queued', () => {
    controller.request(7, 'dev', handlerOf('dev'));
    line.raise();
    controller.mask(7);
    world.clock.run();
    expect(calls).toEqual([]);
  });

  test('a handler that masks: the others of the round still run, and the high level does not come again', () => {
    controller.request(7, 'masker', () => {
      controller.mask(7);
      return true;
    });
    controller.request(7, 'second', () => {
      calls.push('second');
      return false;
    });
    line.raise();
    world.clock.run();
    expect(calls).toEqual(['second']);
    expect(controller.count(7)).toBe(1);
  });

  test('one unmask too many is EINVAL', () => {
    controller.mask(7);
    controller.unmask(7);
    expect(() => controller.unmask(7)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });
});

describe('end of interrupt', () => {
  test('listeners hear of each round after its handlers and before the next delivery', () => {
    let work = 2;
    controller.request(7, 'dev', () => {
      calls.push('handler');
      if (--work === 0) line.lower();
      return true;
    });
    const stop = controller.onEnd(7, () => calls.push('end'));
    line.raise();
    world.clock.run();
    expect(calls).toEqual(['handler', 'end', 'handler', 'end']);
    stop();
    work = 1;
    line.raise();
    world.clock.run();
    expect(calls.at(-1)).toBe('handler');
  });

  test('a listener that lowers the line ends the delivery', () => {
    controller.request(7, 'dev', () => true);
    controller.onEnd(7, () => line.lower());
    line.raise();
    world.clock.run();
    expect(controller.count(7)).toBe(1);
  });
});
