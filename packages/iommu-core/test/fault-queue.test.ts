import { describe, expect, test } from '@jest/globals';
import { type Fault, FaultQueue, type FaultQueueOptions, type IommuDomain } from '../src/index.ts';
import { bench, faultReport, rotator } from './fake-iommu.ts';

/** A rotator whose default domain queues its faults; they are answered with `retry` unless told. */
function start(options: Partial<FaultQueueOptions> = {}) {
  const made = bench();
  const rot = rotator(made);
  const { iommu, world } = made;
  const answered: (readonly [number, number])[] = [];
  const queue = new FaultQueue(world, {
    answer: (fault: Fault) => {
      answered.push([fault.id, world.clock.now]);
      return 'retry';
    },
    respond: (fault, outcome) => iommu.respond(fault, outcome),
    ...options,
  });
  const domain = iommu.domainOf(rot) as IommuDomain;
  domain.setFaultHandler((fault) => queue.add(fault));
  const ids = (): readonly number[] => queue.waiting.map((f) => f.id);
  const resumes = (): readonly string[] => made.fake.calls.filter((c) => c.startsWith('resume'));
  return { ...made, rot, queue, domain, answered, ids, resumes };
}

const SRC = { context: 'rot_src', streamId: 4 };
const DST = { context: 'rot_dst', streamId: 5 };

describe('a fault queue', () => {
  test('holds faults and answers each after its delay, in the order they came', () => {
    const { fake, iommu, world, answered, ids, resumes } = start({ delayNs: 500 });
    fake.stall(iommu, SRC);
    world.clock.advance(200);
    fake.stall(iommu, DST);
    expect(ids()).toEqual([1, 2]);
    world.clock.advance(299);
    expect(answered).toEqual([]);
    world.clock.advance(1);
    expect([answered, ids()]).toEqual([[[1, 500]], [2]]);
    world.clock.run();
    expect(answered).toEqual([
      [1, 500],
      [2, 700],
    ]);
    expect(resumes()).toEqual(['resume rot_src retry', 'resume rot_dst retry']);
  });

  test('waits a microsecond unless told', () => {
    const { fake, iommu, world, answered } = start();
    fake.stall(iommu, DST);
    world.clock.run();
    expect(answered).toEqual([[1, 1000]]);
  });

  test('ends what does not wait, and what finds it full', () => {
    const { fake, iommu, world, queue, ids, resumes } = start({ capacity: 1 });
    expect(queue.add({ ...({} as Fault), isStalled: false })).toBe('terminate');
    expect([fake.stall(iommu, SRC), fake.stall(iommu, DST)]).toEqual(['hold', 'terminate']);
    expect(ids()).toEqual([1]);
    world.clock.run();
    expect(resumes()).toEqual(['resume rot_src retry']);
    expect(fake.stall(iommu, DST)).toBe('hold');
  });

  test('takes 64 unless told', () => {
    const { queue } = start();
    const verdicts = Array.from({ length: 65 }, (_, id) =>
      queue.add({ ...({} as Fault), id, isStalled: true }),
    );
    expect([verdicts.indexOf('terminate'), queue.waiting.length]).toEqual([64, 64]);
  });

  test('discards all that waits: terminated at once, and no answer is asked for later', () => {
    const { fake, iommu, world, queue, answered, ids, resumes } = start();
    fake.stall(iommu, SRC);
    fake.stall(iommu, DST);
    queue.discard();
    expect([ids(), resumes()]).toEqual([[], ['resume rot_src terminate', 'resume rot_dst terminate']]);
    world.clock.run();
    expect([answered, resumes().length]).toEqual([[], 2]);
    queue.discard();
    expect(fake.stall(iommu, SRC)).toBe('hold');
  });

  test('is not surprised when somebody else answered first, or the device was moved', () => {
    const { fake, iommu, world, rot, resumes } = start();
    fake.stall(iommu, SRC);
    const [fault] = iommu.faults;
    expect(fault && [iommu.respond(fault, 'terminate'), iommu.respond(fault, 'retry')]).toEqual([
      true,
      false,
    ]);
    fake.stall(iommu, DST);
    iommu.replace(iommu.blockedDomain, rot);
    world.clock.run();
    expect(resumes()).toEqual(['resume rot_src terminate']);
  });

  test('an answer is not for the access that waits in the same context now', () => {
    const { fake, iommu, world, queue, domain, resumes } = start();
    fake.stall(iommu, DST);
    domain.setFaultHandler(() => 'hold');
    fake.stall(iommu, DST);
    world.clock.run();
    expect([resumes(), queue.waiting]).toEqual([[], []]);
    const second = iommu.faults[1];
    expect(second && iommu.respond(second, 'retry')).toBe(true);
  });

  test('a fault of the same context that does not wait takes no answer from the one that does', () => {
    const { fake, iommu, world, resumes } = start();
    fake.stall(iommu, DST);
    iommu.reportFault(fake, faultReport(DST));
    world.clock.run();
    expect(resumes()).toEqual(['resume rot_dst retry']);
  });

  test('hardware that cannot be reached is reported, and the others are answered', () => {
    const { fake, iommu, world, queue, events, ids, answered } = start();
    fake.stall(iommu, SRC);
    fake.stall(iommu, DST);
    fake.isUnreachable = true;
    queue.discard();
    expect(ids()).toEqual([]);
    fake.stall(iommu, DST);
    world.clock.run();
    expect(answered.length).toBe(1);
    expect(events.filter((e) => e.name === 'iommu:fault_not_answered').map((e) => e.fields)).toMatchObject([
      { fault: 1, error: expect.stringMatching(/^EIO/) },
      { fault: 2 },
      { fault: 3 },
    ]);
  });
});
