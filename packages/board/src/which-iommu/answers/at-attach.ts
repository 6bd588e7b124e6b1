/** Nobody names anything: the device that is attached brings its IOMMUs along. */
import type { Device } from '@iommu-lab/driver-core';
import { READ_WRITE } from '@iommu-lab/iommu-core';
import { AttachBinding } from '@iommu-lab/iommu-core/bindings';
import type { Answer } from '../answer.ts';

export const atAttach: Answer = {
  name: 'at-attach',
  whoSays: 'the device, when it is attached',
  file: 'at-attach.ts',
  open({ system: { iommu } }, { name }) {
    const api = new AttachBinding(iommu);
    const space = api.alloc({}, name);
    const attached: Device[] = [];
    return {
      attach(device) {
        api.attach(space, device);
        attached.push(device);
      },
      map({ iova, address, sizeBytes }) {
        space.map(iova, address, sizeBytes, READ_WRITE, name);
        return iova;
      },
      unmap: ({ iova, sizeBytes }) => void space.unmap(iova, sizeBytes, name),
      close() {
        for (const device of attached.splice(0)) api.detach(space, device);
        space.free();
      },
      tables: () => space.domains,
    };
  },
};
