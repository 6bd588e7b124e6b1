import { describe, expect, test } from '@jest/globals';
import {
  createMdp,
  FAULT_ADDRESS,
  MDP_SCAN_BASE,
  MDP_SCAN_SIZE,
  MDP_SCAN_STRIDE,
  MDP_UNDERRUN_LINES,
  STATUS,
} from '../../src/models/index.ts';
import { Bench, DONE, ERROR, RAM_BASE, size } from '../support/bench.ts';
import { noise, spread } from '../support/pictures.ts';

interface Shown {
  readonly frame: Uint8Array;
  readonly width: number;
  readonly height: number;
}

function display() {
  const bench = new Bench();
  const { port, line } = bench;
  const shown: Shown[] = [];
  const panel = {
    show: (frame: Uint8Array, width: number, height: number) => shown.push({ frame, width, height }),
  };
  const mdp = createMdp(bench.world, { port, line, panel, streamIds: { scan: 3 } });
  return { bench, mdp, shown };
}

const SCAN = [
  [MDP_SCAN_BASE, RAM_BASE],
  [MDP_SCAN_STRIDE, 32],
  [MDP_SCAN_SIZE, size(6, 9)],
] as const;

describe('mdp', () => {
  test('shows what is in memory, without the gaps between lines', () => {
    const { bench, mdp, shown } = display();
    const picture = noise(6 * 9 * 4, 1);
    bench.write(RAM_BASE, spread(picture, 6, 32, 0xcc));
    expect(bench.run(mdp, SCAN)).toBe(DONE);
    expect(shown).toEqual([{ frame: picture, width: 6, height: 9 }]);
    expect(bench.port.seen.every((a) => !a.isWrite && a.streamId === 3)).toBe(true);
  });

  test('a line that cannot be read is black, ERROR names the first address, and the scan goes on', () => {
    const { bench, mdp, shown } = display();
    const picture = noise(6 * 9 * 4, 2);
    bench.write(RAM_BASE, spread(picture, 6, 32, 0xcc));
    bench.port.verdict = ({ address }) =>
      [2, 5].includes((address - RAM_BASE) / 32) ? 'faulted' : undefined;
    expect(bench.run(mdp, SCAN)).toBe(DONE | ERROR);
    expect(mdp.read32(FAULT_ADDRESS.offset)).toBe(RAM_BASE + 2 * 32);
    expect(mdp.read32(MDP_UNDERRUN_LINES.offset)).toBe(2);
    const expected = picture.slice();
    expected.fill(0, 2 * 24, 3 * 24).fill(0, 5 * 24, 6 * 24);
    expect(shown[0]?.frame).toEqual(expected);
  });

  test('a line that fails in its second page is black from its first pixel', () => {
    const { bench, mdp, shown } = display();
    bench.write(RAM_BASE, new Uint8Array(0x2000).fill(0x77));
    bench.port.verdict = ({ address }) => (address === RAM_BASE + 0x1000 ? 'faulted' : undefined);
    bench.run(mdp, [...SCAN, [MDP_SCAN_BASE, RAM_BASE + 0x1000 - 12], [MDP_SCAN_SIZE, size(6, 1)]]);
    expect(mdp.read32(FAULT_ADDRESS.offset)).toBe(RAM_BASE + 0x1000);
    expect(shown[0]?.frame).toEqual(new Uint8Array(24));
  });

  test('ERROR rises at the line that failed, before the scan has ended', () => {
    const { bench, mdp, shown } = display();
    bench.port.verdict = ({ address }) => (address === RAM_BASE ? 'faulted' : undefined);
    bench.start(mdp, SCAN);
    bench.world.clock.runUntil(() => bench.line.isHigh);
    expect(bench.isBusy(mdp)).toBe(true);
    expect(shown).toEqual([]);
    bench.world.clock.run();
    expect(shown).toHaveLength(1);
  });

  test('the next scan starts without the errors of the last one', () => {
    const { bench, mdp } = display();
    bench.port.verdict = () => 'faulted';
    bench.run(mdp, SCAN);
    bench.port.verdict = () => undefined;
    expect(bench.run(mdp, SCAN)).toBe(DONE);
    expect(mdp.read32(FAULT_ADDRESS.offset)).toBe(0);
    expect(mdp.read32(MDP_UNDERRUN_LINES.offset)).toBe(0);
  });

  test('FAULT_ADDRESS keeps the first address of the scan, also when STATUS is cleared in between', () => {
    const { bench, mdp } = display();
    bench.port.verdict = () => 'faulted';
    bench.start(mdp, SCAN);
    bench.world.clock.runUntil(() => bench.line.isHigh);
    mdp.write32(STATUS.offset, ERROR);
    bench.world.clock.run();
    expect(mdp.read32(FAULT_ADDRESS.offset)).toBe(RAM_BASE);
  });

  test('a scan that was reset in the middle of a stall is not shown and reports nothing', () => {
    const { bench, mdp, shown } = display();
    bench.port.verdict = ({ address }) => (address === RAM_BASE + 8 * 32 ? 'parked' : undefined);
    bench.run(mdp, SCAN);
    mdp.write32(0, 2);
    bench.world.clock.schedule(0, 'resume', () => bench.port.resume('terminate'));
    bench.world.clock.run();
    expect(shown).toEqual([]);
    expect(mdp.read32(STATUS.offset)).toBe(0);
  });
});
