/**
 * What should come of each answer in each situation. The codes are those that the answers' own documentation gives
 * (the bindings and `linux-2010` of iommu-core, `bus-dma-ops.ts` here); a scenario compares what happened with it.
 */
import type { AnswerName } from './answer.ts';
import type { Outcome } from './play.ts';
import type { SituationName } from './situations.ts';

export const EXPECTED: Readonly<Record<AnswerName, Readonly<Record<SituationName, Outcome>>>> = {
  // A domain is of the one IOMMU that was named, so no other, be it of the same kind, can have it.
  named: {
    one: 'ok',
    two: 'EINVAL',
    display: 'EINVAL',
    flat: 'ok',
    mixed: 'EINVAL',
    wrong: 'EINVAL',
    early: 'ok',
  },
  // As named, and before the private call nothing can be mapped.
  'bound-later': {
    one: 'ok',
    two: 'EINVAL',
    display: 'EINVAL',
    flat: 'ok',
    mixed: 'EINVAL',
    wrong: 'EINVAL',
    early: 'EINVAL',
  },
  // There is nothing to say, so nothing can be said wrong.
  'at-attach': {
    one: 'ok',
    two: 'ok',
    display: 'ok',
    flat: 'ok',
    mixed: 'ok',
    wrong: 'ok',
    early: 'ok',
  },
  // The bus is the first kind's: for a device behind the other there is no domain. A bus without a kind has none at all.
  'per-bus': {
    one: 'ok',
    two: 'ok',
    display: 'ok',
    flat: 'EINVAL',
    mixed: 'EINVAL',
    wrong: 'ENODEV',
    early: 'ok',
  },
  // A domain for one device serves others behind the same kind: naming the wrong one of them does no harm.
  'per-device': {
    one: 'ok',
    two: 'ok',
    display: 'ok',
    flat: 'ok',
    mixed: 'EINVAL',
    wrong: 'ok',
    early: 'ok',
  },
  // No sets: what is mapped for a device is no other's. The bus knows one driver. Before it has configured a device: nothing.
  'bus-dma-ops': {
    one: 'ok',
    two: 'EFAULT',
    display: 'ok',
    flat: 'ENODEV',
    mixed: 'ENODEV',
    wrong: 'ok',
    early: 'ENODEV',
  },
  // One kind for the machine. The wrong context is attached without a word: it shows when the device is refused.
  'linux-2010': {
    one: 'ok',
    two: 'ok',
    display: 'ok',
    flat: 'EINVAL',
    mixed: 'EINVAL',
    wrong: 'EFAULT',
    early: 'ok',
  },
};
