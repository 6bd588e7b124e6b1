/** The DMA API on a bus that has operations of its own: no domain, no attach, and the driver names nothing. */
import type { Device } from '@iommu-lab/driver-core';
import { getDmaOps } from '@iommu-lab/dma-mapping';
import { type Iova, LabError, physAddr } from '@iommu-lab/machine';
import type { Answer } from '../answer.ts';

export const busDmaOps: Answer = {
  name: 'bus-dma-ops',
  whoSays: 'nobody: the bus knows the wiring',
  file: 'bus-dma-ops.ts',
  open(lab, { name }) {
    const bus = lab.createBusDmaOps();
    const used: Device[] = [];
    let mapped: Iova | undefined;
    return {
      attach(added) {
        lab.leaveCore(added);
        bus.configure(added);
        used.push(added);
      },
      map({ address, sizeBytes }) {
        const [first] = used;
        if (first === undefined)
          throw new LabError('ENODEV', 'the DMA API maps for a device, and there is none yet');
        mapped = getDmaOps(first).mapSingle(physAddr(address), sizeBytes, 'bidirectional', { site: name });
        return mapped;
      },
      unmap({ sizeBytes }) {
        const [first] = used;
        if (mapped === undefined || first === undefined) return;
        getDmaOps(first).unmapSingle(mapped, sizeBytes, 'bidirectional', { site: name });
        mapped = undefined;
      },
      close() {
        for (const each of used.splice(0)) bus.cleanup(each);
      },
      tables: () => used.map((each) => ({ tableBytes: bus.tableBytesOf(each) })),
    };
  },
};
