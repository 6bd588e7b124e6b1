import { describe, expect, test } from '@jest/globals';
import { FAULT_LIMIT, type FaultVerdict } from '../src/index.ts';
import { bench, codeOf, device, endpoint, FakeIommu, faultReport, rotator } from './fake-iommu.ts';

describe('a fault', () => {
  test('carries the names the core knows, and is an event', () => {
    const made = bench();
    const rot = rotator(made);
    rot.driver = { name: 'rot-driver', matches: () => true, probe: () => undefined };
    made.world.clock.advance(1500);
    made.iommu.reportFault(made.fake, faultReport({ registers: { FSR: 2 } }));
    expect(made.iommu.faults).toEqual([
      {
        ...faultReport({ registers: { FSR: 2 } }),
        id: 1,
        ns: 1500,
        device: 'rot',
        provider: 'fake',
        domain: 'dma:rot',
      },
    ]);
    expect(made.events.at(-1)).toEqual({
      name: 'iommu:io_page_fault',
      fields: {
        driver: 'rot-driver',
        device: 'rot',
        iova: '0x10000000',
        flags: 1,
        cause: 'translation',
        context: 'rot_dst',
        fault: 1,
      },
    });
  });

  test('is found by context and stream, by context alone, by stream when not routed', () => {
    const made = bench({ isolate: () => 'all' });
    const { iommu, fake, world } = made;
    const [a, b] = [device('a', endpoint('shared', 1)), device('b', endpoint('shared', 2))];
    iommu.configure(a);
    iommu.configure(b);
    const other = new FakeIommu(world, { provider: 'other' });
    iommu.registerInstance(other);
    const reports = [
      faultReport({ context: 'shared', streamId: 2 }),
      faultReport({ context: 'shared', streamId: 9 }),
      faultReport({ context: undefined, streamId: 2, cause: 'configuration' }),
      faultReport({ context: 'elsewhere', streamId: 2 }),
    ];
    for (const report of reports) iommu.reportFault(fake, report);
    iommu.reportFault(other, faultReport({ context: 'shared', streamId: 2 }));
    expect(iommu.faults.map((f) => f.device)).toEqual(['b', 'a', 'b', undefined, undefined]);
  });

  test('asks the handler of the domain the endpoint is on, then the listeners; terminate unless told', () => {
    const made = bench();
    const rot = rotator(made);
    const { iommu, fake } = made;
    const asked: string[] = [];
    const say = (who: string, verdict: FaultVerdict | undefined) => () => {
      asked.push(who);
      return verdict;
    };
    const domain = iommu.allocPagingDomain(rot);
    iommu.attachEndpoint(domain, rot, 'rot_dst');
    domain.setFaultHandler(say('handler', undefined));
    iommu.defaultDomainOf(rot)?.setFaultHandler(say('default', 'retry'));
    expect(iommu.reportFault(fake, faultReport())).toBe('terminate');
    const end = iommu.onFault(say('first', 'hold'));
    iommu.onFault(say('second', 'retry'));
    expect(iommu.reportFault(fake, faultReport())).toBe('hold');
    domain.setFaultHandler(say('handler', 'terminate'));
    expect(iommu.reportFault(fake, faultReport())).toBe('terminate');
    end();
    domain.setFaultHandler(undefined);
    expect(iommu.reportFault(fake, faultReport())).toBe('retry');
    expect(asked).toEqual([
      ...['handler'],
      ...['handler', 'first', 'second'],
      ...['handler', 'first', 'second'],
      ...['second'],
    ]);
  });

  test('only the last are kept, all are counted, and a held one can still be explained', () => {
    const made = bench();
    rotator(made);
    const { iommu, fake } = made;
    iommu.reportFault(fake, faultReport());
    const [first] = iommu.faults;
    for (let n = 0; n < FAULT_LIMIT; n++) iommu.reportFault(fake, faultReport());
    expect([iommu.faults.length, iommu.faults[0]?.id, iommu.faultCount]).toEqual([
      FAULT_LIMIT,
      2,
      FAULT_LIMIT + 1,
    ]);
    if (first === undefined) throw new Error('no fault');
    expect(iommu.why(first).conclusion).toBe('never-mapped');
    expect(codeOf(() => iommu.why({ ...first }))).toBe('ENOENT');
    const kept = iommu.faults[0] ?? first;
    expect(iommu.why({ ...kept }).fault.id).toBe(2);
  });
});
