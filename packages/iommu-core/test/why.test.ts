/** Explanations, text by text. Long because every conclusion has its whole text here, as a person reads it. */
import { describe, expect, test } from '@jest/globals';
import type { Device } from '@iommu-lab/driver-core';
import {
  type Explanation,
  type FaultReport,
  formatExplanation,
  type IommuDomain,
  READ_ONLY,
  READ_WRITE,
  WRITE_ONLY,
} from '../src/index.ts';
import { bench, type Bench, type FakeOptions, faultReport, K, M, rotator } from './fake-iommu.ts';

interface Case extends Bench {
  readonly rot: Device;
  /** The default domain. */
  readonly domain: IommuDomain;
  /** Lets time pass. */
  readonly pass: (ns: number) => void;
  /** The explanation of a fault with these fields. */
  readonly fault: (report?: Partial<FaultReport>) => Explanation;
}

/** A rotator whose default domain has a source frame (read) and a destination frame (read, write). */
function start(options: FakeOptions = {}): Case {
  const made = bench(options);
  const rot = rotator(made);
  const { iommu, fake, world } = made;
  const domain = iommu.domainOf(rot) as IommuDomain;
  const pass = (ns: number): void => world.clock.advance(ns);
  const fault = (report?: Partial<FaultReport>): Explanation => {
    iommu.reportFault(fake, faultReport(report));
    const last = iommu.faults.at(-1);
    if (last === undefined) throw new Error('no fault');
    return iommu.why(last);
  };
  pass(1000);
  domain.map(0x1000_0000, 0x4520_0000, 64 * K, READ_ONLY, 'rot: source frame');
  pass(250);
  domain.map(0x1008_0000, 0x4730_0000, 64 * K, READ_WRITE, 'rot: destination frame');
  pass(8750);
  return { ...made, rot, domain, pass, fault };
}

describe('the text of each conclusion', () => {
  test('use after unmap', () => {
    const { domain, pass, fault } = start();
    domain.unmap(0x1008_0000, 64 * K, 'rot: stop streaming');
    pass(2500);
    const why = fault({ iova: 0x1008_1040, isStalled: true, registers: { FSR: 2, FAR: 0x1008_1040 } });
    expect(why).toMatchObject({ conclusion: 'unmapped-before', unmappedForNs: 2500 });
    expect(formatExplanation(why)).toMatchInlineSnapshot(`
      "rot: write at 0x10081040 refused: use after unmap
        because    "rot: destination frame" had mapped it; "rot: stop streaming" unmapped it 2.500 us before the fault was reported
        remedy     unmap 0x10080000-0x1008ffff after the transfer has ended: "rot: stop streaming" must wait for rot, or stop it
                   or map 0x10081000-0x10081fff with write again before rot uses it
        fault      number 1, reported at 12.500 us, cause: translation; the access waits
        path       stream 5 -> context rot_dst of fake-iommu fake -> domain dma:rot (paging)
        walk       table  0x80000400: 0x00000000  nothing
        mapping    none here when the fault was reported
        was        0x10080000-0x1008ffff rw "rot: destination frame"  offset 0x1040; mapped at 1.250 us, unmapped at 10.000 us by "rot: stop streaming"
        below      0x10000000-0x1000ffff r- "rot: source frame"       0x71040 bytes away; mapped at 1.000 us
        above      none
        registers  FSR=0x00000002  FAR=0x10081040"
    `);
  });

  test('a right that is missing', () => {
    const { fault } = start();
    const why = fault({ iova: 0x1000_0040, cause: 'permission' });
    expect(why).toMatchObject({ conclusion: 'permission', lacks: 'write' });
    expect(formatExplanation(why)).toMatchInlineSnapshot(`
      "rot: write at 0x10000040 refused: the right is missing
        because    "rot: source frame" mapped it read-only, and this was a write
        remedy     map 0x10000000-0x1000ffff with write: "rot: source frame" mapped it read-only
                   or let rot only read there
        fault      number 1, reported at 10.000 us, cause: permission
        path       stream 5 -> context rot_dst of fake-iommu fake -> domain dma:rot (paging)
        walk       table  0x80000400: 0x45200002  page of 65536 at 0x45200000, r-
        mapping    0x10000000-0x1000ffff r- "rot: source frame"       offset 0x40, lacks write; mapped at 1.000 us
        below      none
        above      0x10080000-0x1008ffff rw "rot: destination frame"  0x7ffc0 bytes away; mapped at 1.250 us"
    `);
  });

  test('an overrun', () => {
    const { fault } = start();
    expect(formatExplanation(fault({ iova: 0x1009_0000, isMultiple: true }))).toMatchInlineSnapshot(`
      "rot: write at 0x10090000 refused: beyond the end of a mapping
        because    the access ran past the end of "rot: destination frame": this is the byte right after it
        remedy     end the transfer of rot at 0x1008ffff, the last byte of "rot: destination frame"
                   or map 4 KiB more with write: 0x10090000-0x10090fff
        fault      number 1, reported at 10.000 us, cause: translation; further faults were lost
        path       stream 5 -> context rot_dst of fake-iommu fake -> domain dma:rot (paging)
        walk       table  0x80000400: 0x00000000  nothing
        mapping    none here when the fault was reported
        below      0x10080000-0x1008ffff rw "rot: destination frame"  adjacent; mapped at 1.250 us
        above      none"
    `);
  });

  test('an underrun', () => {
    const { fault } = start();
    expect(formatExplanation(fault({ iova: 0x1007_fff0 }))).toMatchInlineSnapshot(`
      "rot: write at 0x1007fff0 refused: before the start of a mapping
        because    the access began 16 bytes before "rot: destination frame"
        remedy     start at 0x10080000, where "rot: destination frame" begins
                   or map 0x1007f000-0x1007ffff with write
        fault      number 1, reported at 10.000 us, cause: translation
        path       stream 5 -> context rot_dst of fake-iommu fake -> domain dma:rot (paging)
        walk       table  0x80000400: 0x00000000  nothing
        mapping    none here when the fault was reported
        below      0x10000000-0x1000ffff r- "rot: source frame"       0x6fff0 bytes away; mapped at 1.000 us
        above      0x10080000-0x1008ffff rw "rot: destination frame"  16 bytes away; mapped at 1.250 us"
    `);
  });

  test('never mapped, and it is a physical address', () => {
    const { fault } = start();
    expect(formatExplanation(fault({ iova: 0x4730_0100 }))).toMatchInlineSnapshot(`
      "rot: write at 0x47300100 refused: never mapped
        because    nothing was ever mapped at 0x47300100 in dma:rot, nor within 64 KiB of it
        remedy     map 0x47300000-0x47300fff with write before rot is started
                   or give rot an address that is mapped: the nearest is 0x10080000-0x1008ffff of "rot: destination frame"
        hint       it is a physical address of "rot: destination frame", whose IOVA is 0x10080100: was the wrong one given?
        fault      number 1, reported at 10.000 us, cause: translation
        path       stream 5 -> context rot_dst of fake-iommu fake -> domain dma:rot (paging)
        walk       table  0x800011cc: 0x00000000  nothing
        mapping    none here when the fault was reported
        below      0x10080000-0x1008ffff rw "rot: destination frame"  0x37270100 bytes away; mapped at 1.250 us
        above      none"
    `);
  });

  test('nothing mapped at all, and an unset register', () => {
    const made = bench();
    rotator(made);
    made.iommu.reportFault(made.fake, faultReport({ iova: 0 }));
    const [fault] = made.iommu.faults;
    expect(fault && formatExplanation(made.iommu.why(fault))).toMatchInlineSnapshot(`
      "rot: write at 0x00000000 refused: never mapped
        because    nothing was mapped at all in dma:rot
        remedy     map 0x00000000-0x00000fff with write before rot is started
        hint       it is 0 or next to it: an address register that was never set?
        fault      number 1, reported at 0 ns, cause: translation
        path       stream 5 -> context rot_dst of fake-iommu fake -> domain dma:rot (paging)
        walk       table  0x80000000: 0x00000000  nothing
        mapping    none here when the fault was reported
        below      none
        above      none"
    `);
  });

  test('the blocked domain', () => {
    const { iommu, rot, fault } = start();
    iommu.claimOwnership(rot, 'guest');
    expect(formatExplanation(fault({ iova: 0x1000_0000, direction: 'read' }))).toMatchInlineSnapshot(`
      "rot: read at 0x10000000 refused: the device is blocked
        because    rot is on the blocked domain: "guest" owns its group and has attached nothing
        remedy     attach a domain to rot before it is started
                   or stop rot before its domain is taken away
        hint       domain dma:rot maps it ("rot: source frame"), but that is not the current one
        fault      number 1, reported at 10.000 us, cause: translation
        path       stream 5 -> context rot_dst of fake-iommu fake -> domain blocked"
    `);
  });

  test('a stream without a context', () => {
    const { fault } = start();
    const report = { context: undefined, streamId: 9, cause: 'configuration' } as const;
    expect(formatExplanation(fault(report))).toMatchInlineSnapshot(`
      "stream 9: write at 0x10000000 refused: no context for the stream
        because    no context of fake-iommu fake serves stream 9
        remedy     bind a driver to the device that issues stream 9, so that it is configured before it starts
                   or correct the wiring: an endpoint with stream 9 at provider fake
        fault      number 1, reported at 10.000 us, cause: configuration
        path       stream 9 -> no context of fake-iommu fake"
    `);
  });

  test('outside the aperture', () => {
    const { fault } = start({ capabilities: { aperture: { start: M, last: 0x1fff_ffff } } });
    expect(formatExplanation(fault({ iova: 0x4000_0000 }))).toMatchInlineSnapshot(`
      "rot: write at 0x40000000 refused: outside the aperture
        because    0x40000000 is outside 0x00100000-0x1fffffff, all that dma:rot can map
        remedy     give rot an address from 0x00100000 to 0x1fffffff
        fault      number 1, reported at 10.000 us, cause: translation
        path       stream 5 -> context rot_dst of fake-iommu fake -> domain dma:rot (paging)
        walk       table  0x80001000: 0x00000000  nothing
        mapping    none here when the fault was reported
        below      0x10080000-0x1008ffff rw "rot: destination frame"  785856 KiB away; mapped at 1.250 us
        above      none"
    `);
  });

  test('mapped too late', () => {
    const { domain, pass, fault, iommu } = start();
    fault({ iova: 0x2000_0010 });
    pass(300);
    domain.map(0x2000_0000, 0x4000_0000, 4 * K, READ_WRITE, 'rot: late frame');
    const [recorded] = iommu.faults;
    expect(recorded && formatExplanation(iommu.why(recorded))).toMatchInlineSnapshot(`
      "rot: write at 0x20000010 refused: mapped too late
        because    "rot: late frame" mapped it only after the fault was reported: the device was started too early
        remedy     start rot after "rot: late frame" has mapped 0x20000000-0x20000fff
        fault      number 1, reported at 10.000 us, cause: translation
        path       stream 5 -> context rot_dst of fake-iommu fake -> domain dma:rot (paging)
        walk       table  0x80000800: 0x00000000  nothing
        mapping    none here when the fault was reported
        later      0x20000000-0x20000fff rw "rot: late frame"         offset 0x10; mapped at 10.300 us
        below      0x10080000-0x1008ffff rw "rot: destination frame"  0xff70010 bytes away; mapped at 1.250 us
        above      none"
    `);
  });

  test('mapped, and refused all the same', () => {
    const { fault } = start();
    expect(formatExplanation(fault({ iova: 0x1008_0000 }))).toMatchInlineSnapshot(`
      "rot: write at 0x10080000 refused: but the tables map it
        because    "rot: destination frame" mapped it read-write 8.750 us before the fault was reported: the access was issued before that, or the hardware worked from an older state
        remedy     start rot after the map has returned, not before
                   or make the hardware see it: clean the descriptors the walker reads, invalidate what an earlier mapping left
        fault      number 1, reported at 10.000 us, cause: translation
        path       stream 5 -> context rot_dst of fake-iommu fake -> domain dma:rot (paging)
        walk       table  0x80000400: 0x47300002  page of 65536 at 0x47300000, rw
        mapping    0x10080000-0x1008ffff rw "rot: destination frame"  offset 0x0, has the right; mapped at 1.250 us
        below      0x10000000-0x1000ffff r- "rot: source frame"       448 KiB away; mapped at 1.000 us
        above      none"
    `);
  });

  test('the hardware itself', () => {
    const { fault } = start();
    const why = fault({ iova: 0x1008_0000, cause: 'walk-abort', registers: { FSR: 0x10 } });
    expect(formatExplanation(why)).toMatchInlineSnapshot(`
      "rot: write at 0x10080000 refused: a failure of the hardware or its tables
        because    the walker got a bus error: a table address is wrong, or the memory is gone
        remedy     look at the registers of the fault: no mapping would have made this legal
                   keep the memory of the tables until the domain is detached and invalidated
        fault      number 1, reported at 10.000 us, cause: walk-abort
        path       stream 5 -> context rot_dst of fake-iommu fake -> domain dma:rot (paging)
        walk       table  0x80000400: 0x47300002  page of 65536 at 0x47300000, rw
        mapping    0x10080000-0x1008ffff rw "rot: destination frame"  offset 0x0, has the right; mapped at 1.250 us
        below      0x10000000-0x1000ffff r- "rot: source frame"       448 KiB away; mapped at 1.000 us
        above      none
        registers  FSR=0x00000010"
    `);
  });
});

describe('what is concluded', () => {
  test('the state is that of the report, whatever happens after', () => {
    const { domain, fault, iommu } = start();
    fault({ iova: 0x1000_0040, cause: 'permission' });
    fault({ iova: 0x1009_0040 });
    domain.unmap(0x1000_0000, 64 * K);
    domain.unmap(0x1008_0000, 64 * K);
    expect(iommu.faults.map((f) => iommu.why(f).conclusion)).toEqual(['permission', 'beyond-end']);
    const [first, second] = iommu.faults.map((f) => iommu.why(f));
    expect(first?.mapping?.by).toBe('rot: source frame');
    expect(second?.below).toMatchObject({ distanceBytes: 0x40, mapping: { by: 'rot: destination frame' } });
    expect(first?.walk[0]?.meaning).toContain('page of 65536');
  });

  test('the order of one instant is known', () => {
    const { domain, fault } = start();
    domain.unmap(0x1008_0000, 64 * K, 'a');
    expect(fault({ iova: 0x1008_0000 })).toMatchObject({ conclusion: 'unmapped-before', unmappedForNs: 0 });
    domain.map(0x1008_0000, 0, 64 * K, READ_ONLY, 'b');
    const why = fault({ iova: 0x1008_0000 });
    expect(why).toMatchObject({
      conclusion: 'permission',
      mapping: { by: 'b' },
      previous: { unmappedBy: 'a' },
    });
  });

  test('a right that was refused before the unmap is still a missing right', () => {
    const { domain, fault } = start();
    domain.unmap(0x1000_0000, 64 * K, 'too early');
    const why = fault({ iova: 0x1000_0000, cause: 'permission' });
    expect(why).toMatchObject({ conclusion: 'permission', lacks: 'write', mapping: undefined });
    expect(why.summary).toContain('unmapped since');
    expect(fault({ iova: 0x1000_0000 }).conclusion).toBe('unmapped-before');
  });

  test('64 KiB is near, one byte more is not', () => {
    const { fault } = start();
    const at = (iova: number): string => fault({ iova }).conclusion;
    expect([0x1009_ffff, 0x100a_0000].map(at)).toEqual(['beyond-end', 'never-mapped']);
    expect([0x0fff_0001, 0x0fff_0000].map(at)).toEqual(['before-start', 'never-mapped']);
    expect([0x1001_0000, 0x1007_ffff].map(at)).toEqual(['beyond-end', 'before-start']);
  });

  test('the domain of the endpoint counts, not that of the device', () => {
    const { iommu, rot, fault } = start();
    const other = iommu.allocPagingDomain(rot, 'other');
    iommu.attachEndpoint(other, rot, 'rot_dst');
    const why = fault({ iova: 0x1008_0000 });
    expect(why).toMatchObject({ conclusion: 'never-mapped', fault: { domain: 'other' } });
    expect(why.hints).toEqual([
      'domain dma:rot maps it ("rot: destination frame"), but that is not the current one',
    ]);
    expect(fault({ iova: 0x1008_0000, context: 'rot_src', streamId: 4 }).conclusion).toBe('mapped-now');
  });

  test('an endpoint that is on nothing is blocked; identity faults are the hardware’s', () => {
    const { iommu, rot, fault, fake, domain } = start();
    iommu.replace(iommu.identityDomain, rot);
    expect(fault()).toMatchObject({ conclusion: 'hardware', domainKind: 'identity' });
    fake.broken.add('rot_dst');
    iommu.detach(iommu.identityDomain, rot);
    expect(iommu.domainOf(rot)).toBe(domain);
    expect(fault()).toMatchObject({ conclusion: 'blocked-domain', domainKind: undefined });
  });

  test('rights besides read and write', () => {
    const { domain, fault } = start({
      capabilities: { permissions: { readOnly: true, writeOnly: true, noExec: true, privileged: true } },
    });
    domain.map(0, 0, 4 * K, { ...READ_WRITE, privileged: true }, 'p');
    domain.map(M, 0, 4 * K, { ...READ_WRITE, noExec: true }, 'x');
    domain.map(2 * M, 0, 4 * K, WRITE_ONLY, 'w');
    const lacks = (iova: number, direction: 'read' | 'write'): unknown =>
      fault({ iova, direction, cause: 'permission' }).lacks;
    expect([lacks(0, 'write'), lacks(M, 'read'), lacks(2 * M, 'read')]).toEqual([
      'unprivileged',
      'execute',
      'read',
    ]);
    expect(fault({ iova: M, direction: 'write', cause: 'permission' }).conclusion).toBe('mapped-now');
  });

  test('an address cut to 32 bits, all ones, and an address that once was good', () => {
    const { domain, fault } = start({ capabilities: { aperture: { start: 0, last: 2 ** 40 - 1 } } });
    domain.map(2 ** 33 + 0x5000_0000, 0, 4 * K, READ_WRITE, 'high');
    expect(fault({ iova: 0x5000_0010 }).hints.join()).toContain('"high" cut to 32 bits');
    expect(fault({ iova: 0xffff_ffff }).hints.join()).toContain('all ones');
    domain.map(0x1001_0000, 0, 4 * K, READ_WRITE, 'old');
    domain.unmap(0x1001_0000, 4 * K, 'old');
    expect(fault({ iova: 0x1001_0000 }).hints.join()).toContain('an overrun looks the same');
  });

  test('every conclusion has a summary and a remedy', () => {
    const { fault } = start();
    for (const cause of [
      'translation',
      'permission',
      'access-flag',
      'walk-abort',
      'configuration',
      'other',
    ] as const) {
      for (const iova of [0, 0x1000_0000, 0x1008_0000, 0x1009_0000, 0x1007_0000, 0xffff_ffff]) {
        for (const direction of ['read', 'write'] as const) {
          const why = fault({ cause, iova, direction });
          expect([why.summary.length > 0, why.remedies.length > 0]).toEqual([true, true]);
          expect(formatExplanation(why)).not.toMatch(/undefined|NaN|\n$/);
        }
      }
    }
  });

  test('a scattered buffer is spoken of as a whole', () => {
    const { domain, fault } = start();
    const pages = [0x4610_0000, 0x4550_0000, 0x4980_0000].map((address) => ({ address, length: 4 * K }));
    domain.mapSg(0x2000_0000, pages, READ_ONLY, 'rot: lookup table');
    const why = fault({ iova: 0x2000_1010, cause: 'permission' });
    expect(why.mapping).toMatchObject({
      iova: 0x2000_1000,
      buffer: { iova: 0x2000_0000, sizeBytes: 12 * K },
    });
    expect(why.remedies[0]).toContain('map 0x20000000-0x20002fff with write');
    expect(formatExplanation(why)).toContain('as part of 0x20000000-0x20002fff');
  });

  test('explaining changes nothing', () => {
    const { domain, fault, fake, events } = start();
    const why = fault();
    const before = [fake.state(), domain.mappings(), fake.calls.length, events.length];
    formatExplanation(why);
    expect([fake.state(), domain.mappings(), fake.calls.length, events.length]).toEqual(before);
  });
});
