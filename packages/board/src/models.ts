/** Which hardware model a SoC's row stands for, and how its streams are named in the row. */
import { type BusPort, type InterruptLine, LabError, type MmioDevice, type World } from '@iommu-lab/machine';
import {
  createGfx2d,
  createIjpeg,
  createMdp,
  createRot,
  createVfe,
  type Panel,
  type Sensor,
} from '@iommu-lab/media-devices/models';
import type { MasterRow } from './soc.ts';

/** What lies outside the machine: the scene in front of the camera and whoever looks at the display. */
export interface OutsideWorld {
  readonly sensor: Sensor;
  readonly panel: Panel;
}

/** Models that read through one stream and write through another. */
const COPIERS = { rot: createRot, gfx2d: createGfx2d, ijpeg: createIjpeg };

/** Makes the model of `row`, wired to `port`. @throws LabError EINVAL when the row does not name all its streams. */
export function createModel(
  world: World,
  row: MasterRow,
  port: BusPort,
  line: InterruptLine,
  outside: OutsideWorld,
): MmioDevice {
  const { name } = row;
  const stream = (use: string): number => {
    const wire = row.streams[use];
    if (wire === undefined) throw new LabError('EINVAL', `${name} names no stream "${use}"`, { name, use });
    return wire.machineId;
  };
  switch (row.model) {
    case 'vfe':
      return createVfe(world, {
        name,
        port,
        line,
        streamIds: { imageWrite: stream('imageWrite') },
        sensor: outside.sensor,
      });
    case 'mdp':
      return createMdp(world, {
        name,
        port,
        line,
        streamIds: { scan: stream('scan') },
        panel: outside.panel,
      });
    case 'rot':
    case 'gfx2d':
    case 'ijpeg':
      return COPIERS[row.model](world, {
        name,
        port,
        line,
        streamIds: { source: stream('source'), destination: stream('destination') },
      });
  }
}
