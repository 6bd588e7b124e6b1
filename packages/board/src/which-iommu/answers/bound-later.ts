/** Allocate as ever; a private call of the IOMMU's driver then says which IOMMU is meant. */
import type { Device } from '@iommu-lab/driver-core';
import { READ_WRITE } from '@iommu-lab/iommu-core';
import { LateBinding } from '@iommu-lab/iommu-core/bindings';
import type { Answer } from '../answer.ts';

export const boundLater: Answer = {
  name: 'bound-later',
  whoSays: 'the caller, by a call of one driver',
  file: 'bound-later.ts',
  open({ system: { iommu } }, { name, provider }) {
    const api = new LateBinding(iommu);
    const domain = api.alloc({}, name);
    const attached: Device[] = [];
    return {
      attach(device) {
        if (!domain.isBound) api.bind(domain, { provider });
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
      tables: () => (domain.isBound ? [domain.bound] : []),
    };
  },
};
