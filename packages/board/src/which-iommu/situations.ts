/** Situations in which a caller wants one set of mappings for devices. */
import type { Device } from '@iommu-lab/driver-core';
import { assert } from '@iommu-lab/machine';
import type { Said } from './answer.ts';
import type { Lab } from './lab.ts';

export type SituationName = 'one' | 'two' | 'display' | 'flat' | 'mixed' | 'wrong' | 'early';

export interface Situation {
  readonly name: SituationName;
  /** What it is, in a line. */
  readonly title: string;
  /** Who shares the set. */
  readonly devices: (lab: Lab) => readonly Device[];
  /** What the caller believes; the truth about the first device unless given. */
  readonly believes?: (lab: Lab) => Omit<Said, 'name'>;
  /** Whether the buffer is mapped before a device is there. */
  readonly mapsFirst?: boolean;
}

function onBus(...names: readonly string[]): (lab: Lab) => readonly Device[] {
  return ({ system }) => names.map((name) => system.bus.device(name));
}

/** In the order of the table. */
export const SITUATIONS: readonly Situation[] = [
  { name: 'one', title: 'a set of mappings for a device behind one IOMMU', devices: onBus('gfx2d0') },
  {
    name: 'two',
    title: 'two devices behind two IOMMUs share it: the question',
    devices: onBus('gfx2d0', 'ijpeg'),
  },
  { name: 'display', title: 'the display, behind two IOMMUs at once', devices: onBus('mdp') },
  {
    name: 'flat',
    title: 'a device behind another kind of IOMMU, on the same bus',
    devices: ({ flatDevice }) => [flatDevice],
  },
  {
    name: 'mixed',
    title: 'devices behind IOMMUs of two kinds share it',
    devices: ({ system, flatDevice }) => [system.bus.device('gfx2d0'), flatDevice],
  },
  {
    name: 'wrong',
    title: 'the caller says the wrong thing, where it is asked at all',
    devices: onBus('gfx2d0'),
    believes: ({ system }) => ({ ...truthAbout(system.bus.device('rot')), bus: 'pci' }),
  },
  {
    name: 'early',
    title: 'the buffer is mapped before a device is there',
    devices: onBus('gfx2d0'),
    mapsFirst: true,
  },
];

/** What the caller says in a situation. */
export function saidIn(lab: Lab, situation: Situation, name: string): Said {
  const [first] = situation.devices(lab);
  assert(first !== undefined, 'somebody shares the set');
  return { name, ...(situation.believes?.(lab) ?? { ...truthAbout(first), bus: lab.busName }) };
}

function truthAbout(device: Device): Omit<Said, 'name' | 'bus'> {
  return {
    provider: device.endpoints[0]?.provider ?? '',
    device,
    contexts: device.endpoints.map((e) => e.context),
  };
}
