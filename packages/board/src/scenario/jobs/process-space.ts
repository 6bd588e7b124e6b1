/**
 * One job three ways: the device works in the address space of the process, or in the bus's on pages that are pinned, or on
 * buffers of the kernel that are copied to and from. Then what must happen when memory goes while the device uses it.
 */
import type { Device } from '@iommu-lab/driver-core';
import { getDmaOps } from '@iommu-lab/dma-mapping';
import type { JobResult } from '@iommu-lab/media-devices/drivers';
import type { System } from '../../system.ts';
import type { ProcessSpaceStep } from '../schema.ts';
import { textTable } from '../text-table.ts';
import { finish, type Job, type JobContext } from './job.ts';
import { openInBusSpace } from './process-space/bus-space-driver.ts';
import { openWithCopies } from './process-space/copying-driver.ts';
import { type Cost, costOf } from './process-space/cost.ts';
import { DRIVER_LINES, type DriverFile } from './process-space/driver-lines.ts';
import { exitWhileRunning, unmapWhileRunning } from './process-space/endings.ts';
import { openInProcessSpace } from './process-space/process-space-driver.ts';
import type { UserEngine } from './process-space/user-engine.ts';
import { linesOf, UserProgram } from './process-space/user-program.ts';

interface Way {
  /** Column of the table. */
  readonly name: string;
  readonly driver: DriverFile;
  readonly open: (system: System, device: Device, process: UserProgram['process']) => UserEngine;
}

const WAYS: readonly Way[] = [
  {
    name: 'process',
    driver: 'process-space-driver.ts',
    open: ({ iommu }, device, process) => openInProcessSpace(iommu, device, process),
  },
  {
    name: 'bus, pinned',
    driver: 'bus-space-driver.ts',
    open: (_system, device, process) => openInBusSpace(device, process),
  },
  {
    name: 'bus, copied',
    driver: 'copying-driver.ts',
    open: ({ kernelMemory }, device, process) => openWithCopies(kernelMemory, device, process),
  },
];

const ROWS: readonly (readonly [string, (cost: Cost, way: Way) => string | number])[] = [
  ['device faults, served', (cost) => cost.faults],
  ['pages brought in', (cost) => cost.pagesBroughtIn],
  ['bytes pinned', (cost) => cost.pinnedBytes],
  ['bytes copied by the CPU', (cost) => cost.copiedBytes],
  ['page-table bytes of its own', (cost) => cost.tableBytes],
  ['calls of map + unmap', (cost) => `${cost.mapCalls} + ${cost.unmapCalls}`],
  ['TLB misses', (cost) => cost.tlbMisses],
  ['table walks', (cost) => cost.walks],
  ['invalidations', (cost) => cost.invalidations],
  ['lines of the driver', (_cost, way) => DRIVER_LINES[way.driver]],
  ['model time, ns (CPU: 0)', (cost) => cost.timeNs],
];

/** @throws LabError ENOMEM, ETIMEDOUT, as `Iommu.bindProcess` */
export function* processSpace({ system, atEnd }: JobContext, step: ProcessSpaceStep): Job {
  const device = system.bus.device(step.engine);
  const problems: string[] = [];
  const costs: Cost[] = [];
  const results: Uint8Array[] = [];
  for (const way of WAYS) {
    yield `${way.name}: the job`;
    const program = new UserProgram(system, 'user', step, atEnd);
    program.loseSourcePages(Math.floor(step.usedPages / 2));
    let result: JobResult | undefined;
    costs.push(
      costOf(system, device, program, () => {
        const engine = way.open(system, device, program.process);
        atEnd(() => engine.close());
        result = finish(system, device, `the job of ${way.name}`, (done: (result: JobResult) => void) =>
          engine.copy(program.source, program.destination, linesOf(step), done),
        );
        engine.close();
      }),
    );
    if (result?.ok === false) problems.push(`${way.name}: ${result.message}`);
    const { pinnedBytes } = program.process;
    const { mappedBytes } = getDmaOps(device);
    if (pinnedBytes > 0) problems.push(`${way.name}: ${pinnedBytes} bytes are still pinned`);
    if (mappedBytes > 0) problems.push(`${way.name}: ${mappedBytes} bytes are still mapped for the device`);
    results.push(program.result());
    const wrong = differences(program.expected, program.result());
    if (wrong > 0) problems.push(`${way.name}: ${wrong} wrong bytes in the result`);
    program.process.exit();
  }

  yield 'the destination is unmapped while the device runs';
  const unmapped = unmapWhileRunning(system, device, step, atEnd);
  yield 'the process exits while the device runs';
  const exited = exitWhileRunning(system, device, step, atEnd);

  const [first, ...others] = results;
  const isSame = others.every((bytes) => first !== undefined && differences(first, bytes) === 0);
  return {
    title: `${step.engine} copies ${step.usedPages} of ${step.pages} pages for a process, three ways`,
    results: [
      costTable(costs),
      ...(isSame ? ['the three results are the same, byte for byte'] : []),
      ...[unmapped, exited].filter((ending) => ending.problems.length === 0).map((ending) => ending.result),
    ],
    problems: [...problems, ...unmapped.problems, ...exited.problems],
    artifacts: [],
  };
}

function costTable(costs: readonly Cost[]): string {
  const head = ['works in the space of', ...WAYS.map((way) => way.name)];
  const rows = ROWS.map(([name, cell]) => [
    name,
    ...WAYS.map((way, i) => String(cell(costs[i] as Cost, way))),
  ]);
  return textTable([head, ...rows], { right: [1, 2, 3] });
}

function differences(expected: Uint8Array, got: Uint8Array): number {
  return expected.reduce((sum, byte, i) => sum + (byte === got[i] ? 0 : 1), 0);
}
