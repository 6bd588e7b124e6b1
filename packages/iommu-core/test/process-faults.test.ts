import { describe, expect, test } from '@jest/globals';
import { type Fault, formatExplanation } from '../src/index.ts';
import { type FakeIommu } from './fake-iommu.ts';
import { FakeProcess } from './fake-process.ts';
import { kindsOf, type ProcessBench, startProcess } from './process-fixture.ts';

function last({ iommu }: ProcessBench): Fault {
  const fault = iommu.faults.at(-1);
  if (fault === undefined) throw new Error('no fault');
  return fault;
}

function resumes(fake: FakeIommu): readonly string[] {
  return fake.calls.filter((c) => c.startsWith('resume'));
}

describe('a fault in a process', () => {
  test('brings the page in while the access waits, and it is made again', () => {
    const made = startProcess();
    const { iommu, fake, world, rot, app, events } = made;
    const bond = iommu.bindProcess(rot, app);
    fake.calls.length = 0;
    expect(fake.stall(iommu, { iova: 0x2040 })).toBe('hold');
    expect(fake.calls).toEqual([]);
    world.clock.run();
    expect(fake.calls).toEqual(['page in 0x00002040 write', 'resume rot_dst retry']);
    expect([bond.pagedIn, bond.refused]).toEqual([1, 0]);
    expect(events.at(-1)).toEqual({
      name: 'iommu:page_response',
      fields: { device: 'rot', process: 'app', iova: '0x00002040', code: 'success' },
    });
  });

  test('for which the process has nothing is terminated, and explained', () => {
    const made = startProcess();
    const { iommu, fake, world, rot, app } = made;
    const bond = iommu.bindProcess(rot, app);
    fake.stall(iommu, { iova: app.areaEnd + 8, direction: 'read' });
    world.clock.run();
    expect(resumes(fake)).toEqual(['resume rot_dst terminate']);
    expect([bond.pagedIn, bond.refused]).toEqual([0, 1]);
    const why = iommu.why(last(made));
    expect(why).toMatchObject({
      conclusion: 'process',
      domainKind: 'sva',
      walk: [{ level: 'process table', meaning: 'nothing' }],
    });
    expect(why.remedies.length).toBeGreaterThan(0);
    expect(formatExplanation(why)).toContain('app');
  });

  test('above the user’s part is outside the aperture', () => {
    const made = startProcess();
    made.iommu.bindProcess(made.rot, made.app);
    made.fake.stall(made.iommu, { iova: made.app.userEnd });
    expect(made.iommu.why(last(made)).conclusion).toBe('outside-aperture');
  });

  test('that does not wait ends at once, and nothing is brought in', () => {
    const { iommu, fake, world, rot, app } = startProcess();
    iommu.bindProcess(rot, app);
    iommu.reportFault(fake, { ...faultAt(0x2000), isStalled: false });
    world.clock.run();
    expect([app.pages.size, resumes(fake)]).toEqual([0, []]);
  });

  test('is the bond’s alone: each context has its process', () => {
    const { iommu, fake, world, rot, app } = startProcess();
    const other = new FakeProcess('other', fake.calls);
    other.areaEnd = 0;
    const [src, dst] = [iommu.bindProcess(rot, app, 'rot_src'), iommu.bindProcess(rot, other, 'rot_dst')];
    fake.stall(iommu, { context: 'rot_src', streamId: 4 });
    fake.stall(iommu, { context: 'rot_dst', iova: 0x1000 });
    world.clock.run();
    expect([src.pagedIn, src.refused, dst.pagedIn, dst.refused]).toEqual([0, 1, 0, 1]);
    expect(resumes(fake)).toEqual(['resume rot_src terminate', 'resume rot_dst terminate']);
  });

  test('that waits is ended by unbind, and never answered after it', () => {
    const { iommu, fake, world, rot, app } = startProcess();
    const bond = iommu.bindProcess(rot, app);
    fake.stall(iommu, { iova: 0x1000 });
    fake.calls.length = 0;
    bond.unbind();
    expect(fake.calls).toEqual([
      'resume rot_dst terminate',
      'attach rot_src paging',
      'attach rot_dst paging',
    ]);
    world.clock.run();
    expect([app.pages.size, bond.pagedIn, resumes(fake).length]).toEqual([0, 0, 1]);
  });

  test('that waits is ended by the exit, before the tables go', () => {
    const { iommu, fake, world, rot, app } = startProcess();
    const bond = iommu.bindProcess(rot, app);
    fake.stall(iommu, { iova: 0x1000 });
    fake.calls.length = 0;
    app.exit();
    expect(fake.calls).toEqual([
      'resume rot_dst terminate',
      'attach rot_src blocked',
      'attach rot_dst blocked',
      'tables gone',
    ]);
    world.clock.run();
    expect([app.pages.size, bond.pagedIn]).toEqual([0, 0]);
    expect(fake.stall(iommu, { iova: 0x1000 })).toBe('terminate');
  });

  test('that waits when the device leaves is answered to nobody', () => {
    const { iommu, fake, world, rot, app } = startProcess();
    const bond = iommu.bindProcess(rot, app);
    fake.stall(iommu, { iova: 0x1000 });
    iommu.cleanup(rot);
    world.clock.run();
    expect(resumes(fake)).toEqual([]);
    bond.unbind();
    expect([kindsOf(fake), fake.processTables.size]).toEqual([[], 0]);
  });

  test.each(['unbind', 'exit', 'answer'] as const)('whose hardware is gone does not stop the %s', (how) => {
    const { iommu, fake, world, rot, app, events } = startProcess();
    const bond = iommu.bindProcess(rot, app);
    fake.stall(iommu, { iova: 0x1000, context: 'rot_src', streamId: 4 });
    fake.stall(iommu, { iova: 0x1000 });
    fake.isUnreachable = true;
    if (how === 'unbind') bond.unbind();
    if (how === 'exit') app.exit();
    world.clock.run();
    expect(events.filter((e) => e.name === 'iommu:fault_not_answered').length).toBe(2);
    bond.unbind();
    expect([kindsOf(fake), app.listenerCount]).toEqual([['paging', 'paging'], 0]);
  });
});

function faultAt(iova: number) {
  return {
    context: 'rot_dst',
    streamId: 5,
    iova,
    direction: 'write',
    cause: 'translation',
    isStalled: true,
    isMultiple: false,
    registers: {},
  } as const;
}
