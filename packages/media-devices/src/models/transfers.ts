/** Transfers one after the other, with or without stalls between them. */
import type { Transfer } from '@iommu-lab/machine';
import type { JobRun } from './job-engine.ts';

/**
 * Starts transfers 0 .. count-1, each when the one before has ended, and stops at the first that faults.
 * @param run when it was abandoned during a stall, nothing more happens
 * @param ended called once, at once or after a stall: the address of the access that faulted, or undefined
 */
export function inSequence(
  run: JobRun,
  count: number,
  start: (index: number) => Transfer,
  ended: (faultAddress: number | undefined) => void,
): void {
  let next = 0;
  const proceed = (): void => {
    while (next < count) {
      const transfer = start(next++);
      if (transfer.state === 'pending') {
        run.pending = transfer;
        transfer.onEnd((state) => {
          run.pending = undefined;
          if (run.isAbandoned) return;
          if (state === 'faulted') ended(faultAddress(transfer));
          else proceed();
        });
        return;
      }
      if (transfer.state === 'faulted') return ended(faultAddress(transfer));
    }
    ended(undefined);
  };
  proceed();
}

function faultAddress(transfer: Transfer): number {
  return transfer.startAddress + transfer.doneBytes;
}
