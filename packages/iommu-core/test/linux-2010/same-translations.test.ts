import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { isLabError } from '@iommu-lab/machine';
import type { Protection } from '../../src/index.ts';
import { createLinux2010, ERRNO, type Linux2010 } from '../../src/linux-2010/index.ts';
import { bench, type FakeIommu, K, rotator } from '../fake-iommu.ts';
import { mustEqual } from '../must-equal.ts';

const PAGE = 4 * K;
/** Frames where commands begin, and what is looked at afterwards: few, so that commands meet. */
const STARTS = [0, 1, 2, 15, 16, 17, 32, 48, 255, 256, 257, 272, 512];
const FRAMES = 1024 + 256;

interface Command {
  readonly isMap: boolean;
  readonly frame: number;
  readonly target: number;
  readonly order: number;
  readonly prot: number;
}

const command: fc.Arbitrary<Command> = fc
  .record({
    isMap: fc.boolean(),
    frame: fc.constantFrom(...STARTS),
    target: fc.nat(0xffff),
    order: fc.oneof(fc.constantFrom(0, 0, 4, 8), fc.nat(9)),
    prot: fc.constantFrom(1, 2, 3, 3, 7, 0),
  })
  // Aligned, as the API demands on pain of a crash.
  .map((c) => ({ ...c, frame: align(c.frame, c.order), target: align(c.target, c.order) }));

function align(frame: number, order: number): number {
  return frame - (frame % 2 ** order);
}

/** Result of a modern call as the facade would say it. */
function numberOf(call: () => void): number {
  try {
    call();
    return 0;
  } catch (error) {
    if (isLabError(error)) return -ERRNO[error.code];
    throw error;
  }
}

/** What the hardware would do with each page of a domain, by its own tables: where it leads, with which rights. */
function translations(fake: FakeIommu): string {
  const target = fake.targets.get('rot_src:4');
  if (target?.kind !== 'paging') throw new Error('nothing is attached');
  const { table } = target;
  const pages = Array.from({ length: FRAMES }, (_, i) => {
    // The fake's walk says the page and its rights.
    return `${i}: ${table.iovaToPhys(i * PAGE)} ${table.walk(i * PAGE)[0]?.meaning}`;
  });
  return pages.join('\n');
}

function modernUnmap(domain: { unmap(iova: number, size: number): number }, iova: number, size: number) {
  // What the facade promises: holes are skipped.
  for (let at = iova; at < iova + size; at += PAGE) domain.unmap(at, PAGE);
}

test('the API of 2010 and that of today make the same translations and refuse the same maps', () => {
  const seen = new Map<string, number>();
  const count = (what: string): void => void seen.set(what, (seen.get(what) ?? 0) + 1);
  fc.assert(
    fc.property(fc.array(command, { maxLength: 40 }), (commands) => {
      const [then, now] = [bench(), bench()];
      const [thenRot, nowRot] = [rotator(then), rotator(now)];
      const linux: Linux2010 = createLinux2010(then.iommu);
      linux.register_iommu(then.fake);
      const d = linux.iommu_domain_alloc()!;
      mustEqual(linux.iommu_attach_device(d, thenRot), 0);
      const domain = now.iommu.allocPagingDomain(nowRot);
      now.iommu.attach(domain, nowRot);

      for (const { isMap, frame, target, order, prot } of commands) {
        const [iova, address, size] = [frame * PAGE, target * PAGE, PAGE * 2 ** order];
        if (isMap) {
          const protection: Protection = {
            read: prot % 2 === 1,
            write: prot === 2 || prot === 3 || prot === 7,
            ...(prot === 7 ? { cacheable: true } : {}),
          };
          const result = linux.iommu_map(d, iova, address, order, prot);
          mustEqual(
            result,
            numberOf(() => domain.map(iova, address, size, protection)),
          );
          count(`map ${result}`);
        } else {
          const mapped = domain.mappedBytes;
          const result = linux.iommu_unmap(d, iova, order);
          if (result === -ERRNO.EINVAL) {
            mustEqual(
              numberOf(() => domain.unmap(iova, size)),
              result,
            );
          } else {
            const end = iova + PAGE * 2 ** Math.max(result, order);
            modernUnmap(domain, iova, end - iova);
            mustEqual(result < 0, domain.mappedBytes === mapped);
          }
          count(result > order ? 'unmap more' : result < 0 ? `unmap ${result}` : 'unmap');
        }
        mustEqual(d.mappedBytes, domain.mappedBytes);
      }
      mustEqual(translations(then.fake), translations(now.fake));
      const frames = Array.from({ length: FRAMES }, (_, i) => i * PAGE);
      mustEqual(
        frames.map((iova) => linux.iommu_iova_to_phys(d, iova)),
        frames.map((iova) => domain.iovaToPhys(iova) ?? 0),
      );
    }),
    { numRuns: 300 },
  );
  // Every way a call can end has been met; a suite in which nearly everything fails proves little. The rarest end is a
  // call in 150 or so: that it was met can be asked of every seed, its share cannot.
  const total = [...seen.values()].reduce((sum, n) => sum + n, 0);
  expect([...seen.keys()].sort()).toEqual(
    ['map 0', 'map -17', 'map -22', 'unmap', 'unmap more', 'unmap -19', 'unmap -22'].sort(),
  );
  expect((seen.get('map 0') ?? 0) / total).toBeGreaterThan(0.1);
});
