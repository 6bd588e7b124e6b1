import { describe, expect, test } from '@jest/globals';
import { type LabEvent, MmioBus, World } from '@iommu-lab/machine';
import { ClockTree, withClocks } from '../src/index.ts';

function setup() {
  const world = new World();
  const events: LabEvent[] = [];
  world.events.subscribe((event) => events.push(event));
  return { world, events, clocks: new ClockTree(world, ['smmu_pclk', 'vfe_axi']) };
}

describe('ClockGate', () => {
  test('counts its users: it runs from the first enable to the last disable, and says so once each', () => {
    const { clocks, events } = setup();
    const clock = clocks.get('smmu_pclk');
    clock.enable();
    clock.enable();
    clock.disable();
    expect([clock.isEnabled, clock.enableCount]).toEqual([true, 1]);
    clock.disable();
    expect([clock.isEnabled, clock.enableCount]).toEqual([false, 0]);
    expect(events.map((e) => [e.name, e.fields['name']])).toEqual([
      ['clk:clk_enable', 'smmu_pclk'],
      ['clk:clk_disable', 'smmu_pclk'],
    ]);
  });

  test('one disable too many is EINVAL, and the clock stays usable', () => {
    const clock = setup().clocks.get('vfe_axi');
    expect(() => clock.disable()).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    clock.enable();
    expect(clock.isEnabled).toBe(true);
  });

  test('a clock that does not start is EIO and not counted', () => {
    const { world, clocks } = setup();
    world.failpoints.failNth(1, 'msm-bus.clock-enable');
    const clock = clocks.get('vfe_axi');
    expect(() => clock.enable()).toThrow(expect.objectContaining({ code: 'EIO' }));
    expect(clock.enableCount).toBe(0);
  });

  test('gates a register window: an access while it is off is refused', () => {
    const { world, clocks } = setup();
    const clock = clocks.get('smmu_pclk');
    const mmio = new MmioBus(world);
    mmio.addWindow({
      name: 'rot',
      base: 0x0770_0000,
      sizeBytes: 0x10_0000,
      device: { read32: () => 5, write32: () => undefined },
      isClocked: () => clock.isEnabled,
    });
    expect(() => mmio.read32(0x0770_0000)).toThrow(expect.objectContaining({ code: 'EIO' }));
    expect(withClocks([clock], () => mmio.read32(0x0770_0000))).toBe(5);
  });
});

describe('ClockTree', () => {
  test('finds a clock by name, the same one each time; an unknown one is ENOENT, a name twice EEXIST', () => {
    const { world, clocks } = setup();
    expect(clocks.get('vfe_axi')).toBe(clocks.get('vfe_axi'));
    expect(clocks.all().map((c) => c.name)).toEqual(['smmu_pclk', 'vfe_axi']);
    expect(() => clocks.get('rot_axi')).toThrow(expect.objectContaining({ code: 'ENOENT' }));
    expect(() => new ClockTree(world, ['a', 'a'])).toThrow(expect.objectContaining({ code: 'EEXIST' }));
  });
});

describe('withClocks', () => {
  test('switches on in order and off in reverse, and passes the result on', () => {
    const { clocks, events } = setup();
    expect(withClocks(clocks.all(), () => 'done')).toBe('done');
    expect(events.map((e) => [e.name, e.fields['name']])).toEqual([
      ['clk:clk_enable', 'smmu_pclk'],
      ['clk:clk_enable', 'vfe_axi'],
      ['clk:clk_disable', 'vfe_axi'],
      ['clk:clk_disable', 'smmu_pclk'],
    ]);
  });

  test('the second clock does not start: the first is switched off again and the work is not done', () => {
    const { world, clocks } = setup();
    world.failpoints.failNth(2, 'msm-bus.clock-enable');
    let isDone = false;
    const work = (): void => {
      isDone = true;
    };
    expect(() => withClocks(clocks.all(), work)).toThrow(expect.objectContaining({ code: 'EIO' }));
    expect(isDone).toBe(false);
    expect(clocks.all().map((c) => c.enableCount)).toEqual([0, 0]);
  });

  test('work that throws leaves the clocks as they were', () => {
    const { clocks } = setup();
    clocks.get('smmu_pclk').enable();
    const work = (): never => {
      throw new TypeError('a defect');
    };
    expect(() => withClocks(clocks.all(), work)).toThrow(TypeError);
    expect(clocks.all().map((c) => c.enableCount)).toEqual([1, 0]);
  });
});
