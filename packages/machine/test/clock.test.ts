import { describe, expect, test } from '@jest/globals';
import { Clock, ImpossibleError } from '../src/index.ts';

describe('Clock', () => {
  test('runs tasks by time, those of one instant in the order they were queued', () => {
    const clock = new Clock();
    const ran: string[] = [];
    const note = (name: string) => () => ran.push(`${name}@${clock.now}`);
    clock.schedule(20, 'c', note('c'));
    clock.schedule(10, 'a', note('a'));
    clock.schedule(10, 'b', note('b'));
    clock.schedule(0, 'now', () => {
      note('now')();
      clock.schedule(10, 'late', note('late'));
    });
    clock.run();
    expect(ran).toEqual(['now@0', 'a@10', 'b@10', 'late@10', 'c@20']);
  });

  test('a task that is taken back does not run and lets no time pass', () => {
    const clock = new Clock();
    const cancel = clock.schedule(1000, 'timeout', () => {
      throw new Error('ran');
    });
    cancel();
    cancel();
    clock.run();
    expect(clock.now).toBe(0);
  });

  test('runUntil stops as soon as its condition holds and leaves the rest queued', () => {
    const clock = new Clock();
    let count = 0;
    for (let i = 0; i < 5; i++) clock.schedule(i, 'tick', () => count++);
    expect(clock.runUntil(() => count === 2)).toBe(true);
    expect(count).toBe(2);
    expect(clock.runUntil(() => count === 9)).toBe(false);
    expect(count).toBe(5);
  });

  test('advance runs what is due and stands at the end of it', () => {
    const clock = new Clock();
    const ran: number[] = [];
    clock.schedule(5, 'in', () => ran.push(5));
    clock.schedule(15, 'out', () => ran.push(15));
    clock.advance(10);
    expect([ran, clock.now]).toEqual([[5], 10]);
    clock.advance(5);
    expect([ran, clock.now]).toEqual([[5, 15], 15]);
  });

  test('running the clock from a task is a defect, not a mode', () => {
    const clock = new Clock();
    clock.schedule(0, 'nested', () => clock.run());
    expect(() => clock.run()).toThrow(ImpossibleError);
    clock.run();
  });

  test('a livelock ends with ETIMEDOUT and names the task', () => {
    const clock = new Clock();
    const again = () => {
      clock.schedule(0, 'ping', again);
    };
    again();
    expect(() => clock.runUntil(() => false, 100)).toThrow(
      expect.objectContaining({ code: 'ETIMEDOUT', message: expect.stringContaining('ping') }),
    );
  });

  test('the limit is exact: as many tasks as allowed are no livelock', () => {
    const clock = new Clock();
    for (let i = 0; i < 3; i++) clock.schedule(0, 't', () => undefined);
    expect(clock.runUntil(() => false, 3)).toBe(false);
  });

  test.each([-1, 0.5, Number.NaN, Infinity])('a delay of %d is refused', (delay) => {
    expect(() => new Clock().schedule(delay, 'x', () => undefined)).toThrow(
      expect.objectContaining({ code: 'EINVAL' }),
    );
  });

  test('waits tells who waits for what, oldest first, until it is over', () => {
    const clock = new Clock();
    const endFirst = clock.wait('first');
    clock.wait('second');
    expect(clock.waits()).toEqual(['first', 'second']);
    endFirst();
    endFirst();
    expect(clock.waits()).toEqual(['second']);
  });
});
