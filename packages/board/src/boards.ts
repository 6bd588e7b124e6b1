/** The boards there are, by name. */
import { LabError } from '@iommu-lab/machine';
import { MSM8X60 } from './msm8x60.ts';
import type { SocDescription } from './soc.ts';

/** In the order in which they are listed; the first is the default. */
export const BOARDS: readonly SocDescription[] = [MSM8X60];

/** @throws LabError ENODEV, naming the boards there are. */
export function boardByName(name: string): SocDescription {
  const board = BOARDS.find((b) => b.name === name);
  if (board === undefined) {
    const known = BOARDS.map((b) => b.name);
    throw new LabError('ENODEV', `unknown board "${name}"; there is ${known.join(', ')}`, { name, known });
  }
  return board;
}
