/**
 * A driver of 2010 as its author would have written it for Linux 2.6.37 and the MSM driver: calls, names and error paths of
 * the time, line by line. `iommu_attach_device` takes a context of an IOMMU, found by its name.
 */
import { type ContextDevice, ERRNO, IOMMU_READ, IOMMU_WRITE } from '@iommu-lab/iommu-core/linux-2010';
import { type ErrorCode, LabError } from '@iommu-lab/machine';
import type { Answer } from '../answer.ts';

/** Four pages of 4 KiB. */
const ORDER = 2;

export const linux2010: Answer = {
  name: 'linux-2010',
  whoSays: "the caller, by a context's name, at attach",
  file: 'linux-2010.ts',
  open({ kernel2010: kernel }, { contexts }) {
    const domain = kernel.iommu_domain_alloc();
    if (domain === null) throw new LabError('ENOMEM', 'iommu_domain_alloc returned NULL');
    const attached: ContextDevice[] = [];

    function check(ret: number, call: string): void {
      if (ret < 0) throw new LabError(codeOf(ret), `${call} returned ${ret}`);
    }

    return {
      attach(device) {
        const names = attached.length === 0 ? contexts : device.endpoints.map((e) => e.context);
        for (const name of names) {
          const ctx = kernel.msm_iommu_get_ctx(name);
          if (ctx === null) throw new LabError('ENODEV', `msm_iommu_get_ctx("${name}") returned NULL`);
          const ret = kernel.iommu_attach_device(domain, ctx);
          check(ret, `iommu_attach_device(domain, "${name}")`);
          attached.push(ctx);
        }
      },
      map({ iova, address }) {
        const ret = kernel.iommu_map(domain, iova, address, ORDER, IOMMU_READ | IOMMU_WRITE);
        check(ret, 'iommu_map');
        return iova;
      },
      unmap({ iova }) {
        const ret = kernel.iommu_unmap(domain, iova, ORDER);
        check(ret, 'iommu_unmap');
      },
      close() {
        for (const ctx of attached.splice(0).reverse()) kernel.iommu_detach_device(domain, ctx);
        kernel.iommu_domain_free(domain);
      },
      tables: () => [domain],
    };
  },
};

/** The name of a negative number. */
function codeOf(ret: number): ErrorCode {
  const found = Object.entries(ERRNO).find(([, number]) => number === -ret);
  return (found?.[0] ?? 'EIO') as ErrorCode;
}
