/** Every access that was stopped, explained when it was reported. A fault that was served in the end is none of them. */
import { formatExplanation } from '@iommu-lab/iommu-core';
import { hex } from '@iommu-lab/machine';
import type { System } from '../system.ts';
import type { ExplainedFault } from './report.ts';

/**
 * Notes the faults of `system` from now on, oldest first, in the list it returns. One that a process answers by bringing
 * the page in leaves the list again.
 * @param step index of the step that runs
 */
export function recordFaults(system: System, step: () => number): readonly ExplainedFault[] {
  const faults: ExplainedFault[] = [];
  system.iommu.onFault((fault) => {
    const explanation = system.iommu.why(fault);
    faults.push({
      step: step(),
      device: fault.device ?? 'unknown',
      provider: fault.provider,
      context: fault.context ?? 'none',
      iova: hex(fault.iova),
      direction: fault.direction,
      cause: fault.cause,
      conclusion: explanation.conclusion,
      explanation: formatExplanation(explanation),
    });
  });
  system.world.events.subscribe(({ name, fields }) => {
    if (name !== 'iommu:page_response' || fields['code'] !== 'success') return;
    const served = faults.findLastIndex(
      ({ device, iova }) => device === fields['device'] && iova === fields['iova'],
    );
    if (served >= 0) faults.splice(served, 1);
  });
  return faults;
}
