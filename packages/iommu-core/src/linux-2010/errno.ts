/** Error codes as the numbers a C caller gets, negative (include/asm-generic/errno-base.h, errno.h). */
import { type ErrorCode, isLabError } from '@iommu-lab/machine';

/** Linux's numbers. */
export const ERRNO: Readonly<Record<ErrorCode, number>> = {
  EPERM: 1,
  ENOENT: 2,
  EIO: 5,
  ENXIO: 6,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  ENODEV: 19,
  EINVAL: 22,
  ENOSPC: 28,
  ERANGE: 34,
  EOVERFLOW: 75,
  EOPNOTSUPP: 95,
  EADDRINUSE: 98,
  ETIMEDOUT: 110,
  EPROBE_DEFER: 517,
};

/** What `call` returns (0 for nothing), or the number of the LabError it throws, negative. Other errors pass. */
export function errnoOf(call: () => number | void): number {
  try {
    return call() ?? 0;
  } catch (error) {
    if (isLabError(error)) return -ERRNO[error.code];
    throw error;
  }
}
