/** What may be mapped in a domain: range and rights, checked before anything is touched. */
import { hex, LabError } from '@iommu-lab/machine';
import type { IommuCapabilities } from '../capabilities.ts';
import { formatProtection, type Protection } from '../protection.ts';

/**
 * Checks an IOVA range against the granule and the aperture.
 * @throws LabError EINVAL on an empty or unaligned range, ERANGE outside the aperture
 */
export function checkIovaRange(capabilities: IommuCapabilities, iova: number, sizeBytes: number): void {
  checkAligned(capabilities, 'IOVA', iova);
  checkAligned(capabilities, 'size', sizeBytes);
  if (sizeBytes === 0) throw new LabError('EINVAL', 'an empty range', { iova });
  const { start, last } = capabilities.aperture;
  if (iova < start || iova + sizeBytes - 1 > last) {
    throw new LabError(
      'ERANGE',
      `${hex(iova)}-${hex(iova + sizeBytes - 1)} is outside the aperture ${hex(start)}-${hex(last)}`,
      { iova, sizeBytes },
    );
  }
}

/** The same for the physical side. @throws LabError EINVAL unaligned, ERANGE beyond the last physical address */
export function checkPhysRange(capabilities: IommuCapabilities, address: number, sizeBytes: number): void {
  checkAligned(capabilities, 'physical address', address);
  checkAligned(capabilities, 'size', sizeBytes);
  if (address + sizeBytes - 1 > capabilities.lastPhysAddr) {
    throw new LabError(
      'ERANGE',
      `physical ${hex(address + sizeBytes - 1)} is above the highest address that can be mapped to, ${hex(capabilities.lastPhysAddr)}`,
      { address, sizeBytes },
    );
  }
}

/**
 * The rights that the hardware will grant for `asked`. A right it cannot withhold is refused, with one exception, as
 * in the kernel's table formats: write-only becomes read-write where reads cannot be refused.
 * @throws LabError EINVAL with neither read nor write, EOPNOTSUPP on a right the hardware cannot express
 */
export function grantedProtection(capabilities: IommuCapabilities, asked: Protection): Protection {
  const { permissions } = capabilities;
  if (!asked.read && !asked.write) {
    throw new LabError('EINVAL', 'a mapping allows reads, writes or both', {
      protection: formatProtection(asked),
    });
  }
  refuse(!asked.write && !permissions.readOnly, 'refuse writes', asked);
  refuse(asked.noExec === true && !permissions.noExec, 'refuse instruction fetches', asked);
  refuse(asked.privileged === true && !permissions.privileged, 'refuse unprivileged accesses', asked);
  return !asked.read && !permissions.writeOnly ? { ...asked, read: true } : asked;
}

function refuse(isBeyond: boolean, what: string, asked: Protection): void {
  if (!isBeyond) return;
  throw new LabError('EOPNOTSUPP', `the IOMMU cannot ${what} (asked for ${formatProtection(asked)})`, {
    protection: formatProtection(asked),
  });
}

function checkAligned(capabilities: IommuCapabilities, what: string, value: number): void {
  const granule = capabilities.pageSizes[0] ?? 1;
  if (!Number.isSafeInteger(value) || value < 0 || value % granule !== 0) {
    throw new LabError('EINVAL', `${what} ${value} is not a non-negative multiple of ${granule}`, { value });
  }
}
