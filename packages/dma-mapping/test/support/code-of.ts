import { isLabError } from '@iommu-lab/machine';

/** The code of the LabError that `run` throws, or `done`. */
export function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (isLabError(error)) return error.code;
    throw error;
  }
  return 'done';
}
