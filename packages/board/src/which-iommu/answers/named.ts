/** Name the IOMMU when a domain is allocated. */
import type { Device } from '@iommu-lab/driver-core';
import { READ_WRITE } from '@iommu-lab/iommu-core';
import { NamedBinding } from '@iommu-lab/iommu-core/bindings';
import type { Answer } from '../answer.ts';

export const named: Answer = {
  name: 'named',
  whoSays: 'the caller, by name, when it allocates',
  file: 'named.ts',
  open({ system: { iommu } }, { name, provider }) {
    const api = new NamedBinding(iommu);
    const domain = api.alloc({ provider }, name);
    const attached: Device[] = [];
    return {
      attach(device) {
        api.attach(domain, device);
        attached.push(device);
      },
      map({ iova, address, sizeBytes }) {
        domain.map(iova, address, sizeBytes, READ_WRITE, name);
        return iova;
      },
      unmap: ({ iova, sizeBytes }) => void domain.unmap(iova, sizeBytes, name),
      close() {
        for (const device of attached.splice(0)) api.detach(domain, device);
        domain.free();
      },
      tables: () => [domain],
    };
  },
};
