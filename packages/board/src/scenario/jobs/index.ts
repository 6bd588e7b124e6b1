/** A step's `do` to the job that does it. */
import type { Step } from '../schema.ts';
import { guest } from './guest.ts';
import type { Job, JobContext } from './job.ts';
import { nic } from './nic.ts';
import { pipeline } from './pipeline.ts';
import { processSpace } from './process-space.ts';
import { shareEngine } from './share-engine.ts';
import { trespass } from './trespass.ts';
import { whichIommu } from './which-iommu.ts';

/** The job of a step, not begun yet. */
export function startJob(context: JobContext, step: Step): Job {
  switch (step.do) {
    case 'pipeline':
      return pipeline(context, step);
    case 'share-engine':
      return shareEngine(context, step);
    case 'guest':
      return guest(context, step);
    case 'trespass':
      return trespass(context, step);
    case 'process-space':
      return processSpace(context, step);
    case 'which-iommu':
      return whichIommu(context, step);
    case 'nic':
      return nic(context, step);
  }
}
