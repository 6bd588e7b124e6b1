/** Every answer: what was proposed in 2010, what came after, and what the thread advised to begin with. */
import type { Answer, AnswerFile } from '../answer.ts';
import { atAttach } from './at-attach.ts';
import { boundLater } from './bound-later.ts';
import { busDmaOps } from './bus-dma-ops.ts';
import { linux2010 } from './linux-2010.ts';
import { named } from './named.ts';
import { perBus } from './per-bus.ts';
import { perDevice } from './per-device.ts';

/** In the order of the table. */
export const ANSWERS: readonly Answer[] = [
  named,
  boundLater,
  atAttach,
  perBus,
  perDevice,
  busDmaOps,
  linux2010,
];

/** How long the caller's code of each is: lines that are neither empty nor comment. A test counts them. */
export const ANSWER_LINES: Readonly<Record<AnswerFile, number>> = {
  'named.ts': 30,
  'bound-later.ts': 31,
  'at-attach.ts': 30,
  'per-bus.ts': 31,
  'per-device.ts': 30,
  'bus-dma-ops.ts': 38,
  'linux-2010.ts': 47,
};
