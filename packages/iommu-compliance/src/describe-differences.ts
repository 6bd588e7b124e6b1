/**
 * Questions that backends may answer differently, each within the contract: error codes, what an unmap takes, how a switch
 * goes. Asked by operating the backend, not by reading its manifest, wherever both would do.
 */
import { type IommuCapabilities, type IommuDomain, type Protection, READ_WRITE } from '@iommu-lab/iommu-core';
import { isLabError } from '@iommu-lab/machine';
import { Bench, MARK_BYTES } from './bench.ts';
import { caught } from './demand.ts';
import type { BackendUnderTest } from './fixture.ts';
import { foreignSide } from './foreign-side.ts';
import { watchSteps } from './watch-steps.ts';

/** A question and what the backend did. */
export interface Difference {
  /** Stable: by it the answers of backends are put side by side. */
  readonly question: string;
  readonly answer: string;
}

type Ask = (bench: Bench) => string;

const NO_EXECUTION: Protection = { read: true, write: true, noExec: true };
const PRIVILEGED: Protection = { read: true, write: true, privileged: true };

const QUESTIONS: Readonly<Record<string, Ask>> = {
  'page sizes': ({ capabilities }) => capabilities.pageSizes.map(sizeText).join(', '),
  aperture: ({ capabilities }) => rangeText(capabilities.aperture),
  'highest physical address': ({ capabilities }) => capabilities.lastPhysAddr.toString(16),
  'map over a page': (bench) => {
    const domain = withPage(bench);
    return outcome(() => domain.map(bench.iova(0), bench.page(), bench.granule, READ_WRITE));
  },
  'map a large page over a live small one': (bench) => {
    const { largest, granule } = bench;
    if (largest === granule) return 'one size only';
    const domain = bench.domain('small first');
    domain.map(bench.largeIova(), bench.page(), granule, READ_WRITE);
    return outcome(() => domain.map(bench.largeIova(), bench.page(largest), largest, READ_WRITE));
  },
  'map outside the aperture': (bench) =>
    outcome(() =>
      bench.domain('far').map(bench.capabilities.aperture.last + 1, bench.page(), bench.granule, READ_WRITE),
    ),
  'map to where no memory can be': (bench) =>
    outcome(() =>
      bench.domain('far').map(bench.iova(0), bench.capabilities.lastPhysAddr + 1, bench.granule, READ_WRITE),
    ),
  'map half a granule': (bench) =>
    outcome(() => bench.domain('half').map(bench.iova(0), bench.page(), bench.granule / 2, READ_WRITE)),
  'map without rights': (bench) => rights(bench, { read: false, write: false }),
  'map read-only': (bench) => rights(bench, { read: true, write: false }),
  'map write-only': (bench) => rights(bench, { read: false, write: true }),
  'map without execution': (bench) => rights(bench, NO_EXECUTION),
  'map for privileged accesses only': (bench) => rights(bench, PRIVILEGED),
  'unmap the first granule of a large page': (bench) => {
    const { largest, granule } = bench;
    if (largest === granule) return 'one size only';
    const domain = bench.domain('head');
    domain.map(bench.largeIova(), bench.page(largest), largest, READ_WRITE);
    return bytes(() => domain.unmap(bench.largeIova(), granule));
  },
  'unmap from the middle of a large page': (bench) => {
    const { largest, granule } = bench;
    if (largest === granule) return 'one size only';
    const domain = bench.domain('middle');
    domain.map(bench.largeIova(), bench.page(largest), largest, READ_WRITE);
    return bytes(() => domain.unmap(bench.largeIova() + granule, granule));
  },
  'unmap a page, a hole, a page': (bench) => {
    const domain = withPage(bench);
    domain.map(bench.iova(2), bench.page(), bench.granule, READ_WRITE);
    return `${bytes(() => domain.unmap(bench.iova(0), 3 * bench.granule))} of 3 granules, then the hole`;
  },
  'unmap nothing': (bench) => bytes(() => bench.domain('empty').unmap(bench.iova(0), bench.granule)),
  'attach a second time': (bench) => {
    const domain = bench.attached('twice');
    return outcome(() => bench.iommu.attach(domain, bench.first.device));
  },
  'attach a domain of another kind of IOMMU': (bench) => {
    const foreign = bench.iommu.allocPagingDomain(foreignSide(bench).device);
    return outcome(() => bench.iommu.replace(foreign, bench.first.device));
  },
  'one domain for two devices': (bench) => {
    const domain = bench.attached('shared');
    return outcome(() => bench.iommu.attach(domain, bench.second.device));
  },
  'pass through untranslated': (bench) =>
    outcome(() => bench.iommu.attach(bench.iommu.identityDomain, bench.first.device)),
  'move a running master to another table': ({ capabilities }) => capabilities.switchKind,
  'steps of that move': (bench) => {
    bench.serving('old');
    const next = withPage(bench);
    return String(watchSteps(bench, [], () => bench.iommu.replace(next, bench.first.device)));
  },
  'steps of mapping one page': (bench) => {
    const domain = bench.attached('stores');
    const page = bench.page();
    domain.map(bench.iova(1), page, bench.granule, READ_WRITE);
    return String(watchSteps(bench, [], () => domain.map(bench.iova(0), page, bench.granule, READ_WRITE)));
  },
  'steps of unmapping one page': (bench) => {
    const { domain } = bench.serving('stores');
    return String(watchSteps(bench, [], () => void domain.unmap(bench.iova(0), bench.granule)));
  },
  'table memory of an empty domain': (bench) => sizeText(bench.domain('empty').tableBytes),
  'more for its first page': (bench) => {
    const empty = bench.domain('empty').tableBytes;
    return sizeText(withPage(bench).tableBytes - empty);
  },
  'an access that is refused': (bench) => {
    const domain = bench.attached('refusing');
    let isStalled = false;
    domain.setFaultHandler((fault) => {
      isStalled = fault.isStalled;
      return undefined;
    });
    bench.read(bench.first.master, bench.iova(0));
    return isStalled ? 'waits for a verdict' : 'ends at once';
  },
  'three refused at once': (bench) => {
    bench.attached('burst');
    for (const i of [1, 2, 3]) bench.first.master.read(bench.iova(i), new Uint8Array(MARK_BYTES));
    bench.fixture.settle();
    const more = bench.faults.some((f) => f.isMultiple) ? ', and that there were more' : '';
    return `${bench.faults.length} reported${more}`;
  },
  'what a blocked access is reported as': (bench) => {
    bench.iommu.replace(bench.iommu.blockedDomain, bench.first.device);
    bench.read(bench.first.master, bench.iova(0));
    return bench.faults[0]?.cause ?? 'nothing';
  },
  'note which pages are written': (bench) => outcome(() => bench.domain('noted').setDirtyTracking(true)),
  'work in the address space of a process': (bench) => {
    const process = bench.fixture.createProcess?.('asked');
    const { processFormats } = bench.capabilities;
    if (process === undefined || processFormats.length === 0) return 'EOPNOTSUPP';
    return outcome(() => bench.iommu.bindProcess(bench.first.device, process)).replace(
      'yes',
      `yes: ${process.tableFormat}`,
    );
  },
  'IOVAs the hardware keeps': (bench) => {
    const regions = bench.iommu.reservedRegionsOf(bench.first.device);
    return regions.map((r) => `${r.kind} ${r.iova.toString(16)}`).join(', ') || 'none';
  },
};

/** Asks the backend every question, each in a fixture of its own. */
export function describeDifferences(backend: BackendUnderTest): readonly Difference[] {
  return Object.entries(QUESTIONS).map(([question, ask]) => {
    const fixture = backend.create();
    try {
      return { question, answer: ask(new Bench(fixture)) };
    } finally {
      backend.destroy?.(fixture);
    }
  });
}

function withPage(bench: Bench): IommuDomain {
  const domain = bench.domain('with a page');
  domain.map(bench.iova(0), bench.page(), bench.granule, READ_WRITE);
  return domain;
}

function rights(bench: Bench, protection: Protection): string {
  const domain = bench.domain('rights');
  const said = outcome(() => domain.map(bench.iova(0), bench.page(), bench.granule, protection));
  const granted = domain.mappings()[0]?.protection;
  return said === 'yes' && granted?.read !== protection.read ? 'yes, with reads' : said;
}

function bytes(unmap: () => number): string {
  let removed = 0;
  const said = outcome(() => {
    removed = unmap();
  });
  return said === 'yes' ? sizeText(removed) : said;
}

function outcome(act: () => void): string {
  const error = caught(act);
  if (error === undefined) return 'yes';
  return isLabError(error) ? error.code : 'something that is no LabError';
}

function rangeText({ start, last }: IommuCapabilities['aperture']): string {
  return `${start.toString(16)} to ${last.toString(16)}`;
}

function sizeText(sizeBytes: number): string {
  if (sizeBytes >= 0x10_0000 && sizeBytes % 0x10_0000 === 0) return `${sizeBytes / 0x10_0000} MiB`;
  if (sizeBytes >= 0x400 && sizeBytes % 0x400 === 0) return `${sizeBytes / 0x400} KiB`;
  return `${sizeBytes} bytes`;
}
