/** Today: a domain is allocated for a device, and fits what that device sits behind. */
import type { Device } from '@iommu-lab/driver-core';
import { READ_WRITE } from '@iommu-lab/iommu-core';
import { DeviceBinding } from '@iommu-lab/iommu-core/bindings';
import type { Answer } from '../answer.ts';

export const perDevice: Answer = {
  name: 'per-device',
  whoSays: 'the device, when a domain is allocated for it',
  file: 'per-device.ts',
  open({ system: { iommu } }, { name, device: first }) {
    const api = new DeviceBinding(iommu);
    const domain = api.alloc({ device: first }, name);
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
