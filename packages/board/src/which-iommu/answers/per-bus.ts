/** One kind of IOMMU per bus, 2011 to 2023: a domain is for a bus, and the driver that came first has it. */
import type { Device } from '@iommu-lab/driver-core';
import { READ_WRITE } from '@iommu-lab/iommu-core';
import { BusBinding } from '@iommu-lab/iommu-core/bindings';
import type { Answer } from '../answer.ts';

export const perBus: Answer = {
  name: 'per-bus',
  whoSays: 'the bus, which has one kind',
  file: 'per-bus.ts',
  open({ system: { iommu }, firstKind, busName }, { name, bus }) {
    const api = new BusBinding(iommu);
    api.setKind(busName, firstKind.tableKey);
    const domain = api.alloc({ bus }, name);
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
