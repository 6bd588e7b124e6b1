/** Whether a scenario fits its board: the devices it names are there, and of the kind a step needs. */
import { BOARDS } from '../boards.ts';
import type { ModelKind, SocDescription } from '../soc.ts';
import type { Scenario, Step } from './schema.ts';

/** A setting that names what the board has not. */
export interface Mismatch {
  /** Where in the scenario. */
  readonly path: readonly (string | number)[];
  readonly message: string;
}

/** What steps call the kinds of device. */
const KINDS: Readonly<Record<ModelKind, string>> = {
  vfe: 'camera',
  rot: 'rotator',
  mdp: 'display',
  gfx2d: '2D engine',
  ijpeg: 'JPEG encoder',
};

/** Everything that does not fit, in the scenario's order. */
export function findMismatches(scenario: Scenario): readonly Mismatch[] {
  const board = BOARDS.find((b) => b.name === scenario.board);
  if (board === undefined) {
    const known = BOARDS.map((b) => b.name).join(', ');
    return [{ path: ['board'], message: `there is no board "${scenario.board}"; there is ${known}` }];
  }
  return scenario.steps.flatMap((step, index) =>
    devicesOf(step).flatMap(([setting, name, kind]) => {
      const message = mismatch(board, name, kind);
      return message === undefined ? [] : [{ path: ['steps', index, setting], message }];
    }),
  );
}

/** Setting, device, and the kind it must be of; undefined: any. */
function devicesOf(step: Step): readonly (readonly [string, string, ModelKind | undefined])[] {
  switch (step.do) {
    case 'pipeline':
      return [
        ['camera', step.camera, 'vfe'],
        ['rotator', step.rotator, 'rot'],
        ['display', step.display, 'mdp'],
      ];
    case 'share-engine':
      return [['engine', step.engine, 'gfx2d']];
    case 'guest':
      return [['owns', step.owns, 'ijpeg']];
    case 'trespass':
      return [['device', step.device, undefined]];
    case 'process-space':
      return [['engine', step.engine, 'gfx2d']];
    case 'which-iommu':
    case 'nic':
      return [];
  }
}

function mismatch(board: SocDescription, name: string, kind: ModelKind | undefined): string | undefined {
  const fitting = board.masters.filter((master) => kind === undefined || master.model === kind);
  if (fitting.some((master) => master.name === name)) return undefined;
  const what = kind === undefined ? 'device' : KINDS[kind];
  return `${board.name} has no ${what} "${name}"; there is ${fitting.map((master) => master.name).join(', ')}`;
}
