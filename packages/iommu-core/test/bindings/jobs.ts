/** The jobs that are played through every style, and what must come of each. */
import type { Device } from '@iommu-lab/driver-core';
import type { BindableDomain, BindingStyle, Wish } from '../../src/bindings/index.ts';
import { READ_WRITE } from '../../src/index.ts';
import { K } from '../fake-iommu.ts';
import { mustEqual } from '../must-equal.ts';
import { outcomeOf, seenBy, type Soc } from './soc.ts';

export interface Job {
  readonly name: string;
  /** @returns `ok`, or the code and the step that failed; what was made is undone either way */
  readonly play: (soc: Soc, style: BindingStyle) => string;
  /** What comes of it, by style. */
  readonly outcomes: Readonly<Record<string, string>>;
}

export const IOVA = 0x10_0000;
export const MEMORY = 0x4000_0000;
const PAGE = 64 * K; // every IOMMU here has it

type Place = 'provider' | 'bus';
type DeviceName = keyof Soc['devices'];

interface Plan {
  /** What the caller says: of the first device, on the bus that its kind has taken. */
  readonly wish: Readonly<Record<Place, string>>;
  readonly devices: readonly DeviceName[];
  readonly sizeBytes?: number;
  /** Map before the IOMMU is bound or the device attached. */
  readonly mapFirst?: boolean;
  /** The IOMMU comes after the domain was allocated. */
  readonly arriveLate?: boolean;
}

/** Allocate, bind, map, attach every device, look at what the hardware sees, and undo it all. */
function plain(plan: Plan): Job['play'] {
  return (soc, style) => {
    const devices = plan.devices.map((name) => soc.devices[name]);
    const wish: Wish = { ...plan.wish, device: devices[0] as Device };
    const sizeBytes = plan.sizeBytes ?? PAGE;
    let domain: BindableDomain | undefined;
    const made = (): BindableDomain => domain as BindableDomain;
    const alloc = ['alloc', () => void (domain = style.alloc(wish, 'mine'))] as const;
    const bind = ['bind', () => style.bind?.(made(), wish)] as const;
    const map = ['map', () => made().map(IOVA, MEMORY, sizeBytes, READ_WRITE)] as const;
    const attach = devices.map((d) => ['attach', () => style.attach(made(), d)] as const);
    const arrive = ['arrive', soc.arrive] as const;
    const outcome = outcomeOf([
      alloc,
      ...(plan.arriveLate === true ? [arrive] : []),
      ...(plan.mapFirst === true ? [map, bind] : [bind, map]),
      ...attach,
    ]);
    if (outcome === 'ok') {
      for (const d of devices) {
        mustEqual(
          seenBy(soc, d, IOVA + 0x234),
          d.endpoints.map(() => MEMORY + 0x234),
        );
      }
      mustEqual(made().iovaToPhys(IOVA + 0x234), MEMORY + 0x234);
      mustEqual(
        outcomeOf([['free', () => made().free()]]),
        'EBUSY at free', // in use
      );
      mustEqual(made().unmap(IOVA, sizeBytes), sizeBytes);
      for (const d of devices) {
        mustEqual(
          seenBy(soc, d, IOVA),
          d.endpoints.map(() => undefined),
        );
      }
    }
    if (domain !== undefined) {
      for (const d of devices) style.detach(domain, d);
      domain.free();
    }
    return outcome;
  };
}

/** A domain for each IOMMU in front of one device, all with the same mapping. */
function oneEach(provider: readonly string[], bus: string, who: DeviceName): Job['play'] {
  return (soc, style) => {
    const d = soc.devices[who];
    const made: BindableDomain[] = [];
    const outcome = outcomeOf(
      provider.flatMap((each, i) => {
        const wish: Wish = { provider: each, bus, device: d };
        const { context } = d.endpoints[i] as Device['endpoints'][number];
        const mine = (): BindableDomain => made[i] as BindableDomain;
        // The two styles that name an IOMMU can attach one endpoint; the others do not need to.
        const { named, boundLater } = soc.styles;
        const attach =
          style === named || style === boundLater
            ? () => (style as typeof named).attach(mine() as never, d, context)
            : () => style.attach(mine(), d);
        return [
          ['alloc', () => void made.push(style.alloc(wish, `for ${each}`))],
          ['bind', () => style.bind?.(mine(), wish)],
          ['map', () => mine().map(IOVA, MEMORY, PAGE, READ_WRITE)],
          ['attach', attach],
        ] as const;
      }),
    );
    if (outcome === 'ok') mustEqual(seenBy(soc, d, IOVA), [MEMORY, MEMORY]);
    for (const domain of made) {
      style.detach(domain, d);
      domain.free();
    }
    return outcome;
  };
}

/** `[named, bound-later, at-attach, per-bus, per-device]` */
function outcomes(...each: readonly [string, string, string, string, string]): Job['outcomes'] {
  const [named, late, attach, bus, dev] = each;
  return { named, 'bound-later': late, 'at-attach': attach, 'per-bus': bus, 'per-device': dev };
}

const A1 = { provider: 'a1', bus: 'soc' };
const AT_ATTACH = 'EINVAL at attach';

export const JOBS: readonly Job[] = [
  {
    name: 'a device behind one IOMMU',
    play: plain({ wish: A1, devices: ['cam'] }),
    outcomes: outcomes('ok', 'ok', 'ok', 'ok', 'ok'),
  },
  {
    name: 'two devices behind two IOMMUs of one kind share a domain',
    play: plain({ wish: A1, devices: ['cam', 'vid'] }),
    outcomes: outcomes(AT_ATTACH, AT_ATTACH, 'ok', 'ok', 'ok'),
  },
  {
    name: 'two devices behind IOMMUs of different kinds share a domain',
    play: plain({ wish: A1, devices: ['cam', 'scan'] }),
    outcomes: outcomes(AT_ATTACH, AT_ATTACH, 'ok', AT_ATTACH, AT_ATTACH),
  },
  {
    name: 'a device behind two IOMMUs of one kind',
    play: plain({ wish: A1, devices: ['both'] }),
    outcomes: outcomes(AT_ATTACH, AT_ATTACH, 'ok', 'ok', 'ok'),
  },
  {
    name: 'a device behind two IOMMUs of different kinds',
    play: plain({ wish: A1, devices: ['dual'] }),
    outcomes: outcomes(AT_ATTACH, AT_ATTACH, 'ok', AT_ATTACH, 'EOPNOTSUPP at alloc'),
  },
  {
    name: 'the same, with a domain for each IOMMU',
    play: oneEach(['a1', 'odd'], 'soc', 'dual'),
    outcomes: outcomes('ok', 'ok', 'EBUSY at attach', AT_ATTACH, 'EOPNOTSUPP at alloc'),
  },
  {
    name: 'the wrong IOMMU is named',
    play: plain({ wish: { provider: 'a2', bus: 'soc' }, devices: ['cam'] }),
    outcomes: outcomes(AT_ATTACH, AT_ATTACH, 'ok', 'ok', 'ok'),
  },
  {
    name: 'an IOMMU is named that there is not',
    play: plain({ wish: { provider: 'nowhere', bus: 'soc' }, devices: ['cam'] }),
    outcomes: outcomes('ENODEV at alloc', 'ENODEV at bind', 'ok', 'ok', 'ok'),
  },
  {
    name: 'the device is of another kind than its bus',
    play: plain({ wish: { provider: 'odd', bus: 'soc' }, devices: ['scan'] }),
    outcomes: outcomes('ok', 'ok', 'ok', AT_ATTACH, 'ok'),
  },
  {
    name: 'the bus has no kind of IOMMU',
    play: plain({ wish: { provider: 'a1', bus: 'nowhere' }, devices: ['cam'] }),
    outcomes: outcomes('ok', 'ok', 'ok', 'ENODEV at alloc', 'ok'),
  },
  {
    name: 'map first, then bind and attach',
    play: plain({ wish: A1, devices: ['cam'], mapFirst: true }),
    outcomes: outcomes('ok', 'EINVAL at map', 'ok', 'ok', 'ok'),
  },
  {
    name: 'map what the hardware cannot, then attach',
    play: plain({ wish: { provider: 'odd', bus: 'side' }, devices: ['scan'], sizeBytes: 4 * K }),
    outcomes: outcomes('EINVAL at map', 'EINVAL at map', AT_ATTACH, 'EINVAL at map', 'EINVAL at map'),
  },
  {
    name: 'the IOMMU comes after alloc; its kind is known',
    play: plain({ wish: { provider: 'late', bus: 'soc' }, devices: ['late'], arriveLate: true }),
    outcomes: outcomes('ENODEV at alloc', 'ok', 'ok', 'ok', 'ENODEV at alloc'),
  },
  {
    name: 'the IOMMU comes after alloc; it is the first of its kind',
    play: plain({ wish: { provider: 'new', bus: 'new-bus' }, devices: ['new'], arriveLate: true }),
    outcomes: outcomes('ENODEV at alloc', 'ok', 'ok', 'ENODEV at alloc', 'ENODEV at alloc'),
  },
];
