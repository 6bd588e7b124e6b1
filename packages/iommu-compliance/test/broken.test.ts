/** The kit fails backends that are broken on purpose, and names the part of the contract that they break. */
import { describe, expect, test } from '@jest/globals';
import type { IommuCapabilities } from '@iommu-lab/iommu-core';
import type { BusMaster, Transfer } from '@iommu-lab/machine';
import {
  type Aspect,
  COMPLIANCE_CHECKS,
  ComplianceFailure,
  type ComplianceFixture,
  failSites,
  runComplianceChecks,
} from '../src/index.ts';
import type { Defect } from '../src/reference/defects.ts';
import { createOracleFixture, POOR, RICH } from './oracle-fixture.ts';

/** Each defect, and the aspects that must notice. */
const BROKEN: Readonly<Record<Defect, readonly Aspect[]>> = {
  'no-invalidation': ['invalidation', 'map-unmap', 'model-random'],
  'invalidation-off-by-one': ['invalidation'],
  'invalidation-of-one-stream': ['attach', 'address-space'],
  'map-off-by-one': ['map-unmap', 'page-sizes'],
  'map-without-rollback': ['fail-nth'],
  'unmap-wrong-size': ['map-unmap'],
  'unmap-runs-on': ['map-unmap'],
  'unmap-needs-a-device': ['hotplug'],
  'read-only-is-writable': ['permissions', 'model-random'],
  'rights-swapped': ['permissions', 'model-random'],
  'privileged-ignored': ['permissions'],
  'leak-on-destroy': ['domain-life', 'teardown'],
  'attach-without-rollback': ['fail-nth'],
  'unmap-can-throw': ['fail-nth'],
  'switch-through-bypass': ['switch'],
  'switch-through-blocked': ['switch'],
  'switch-page-by-page': ['switch'],
  'switch-keeps-cache': ['attach', 'switch', 'invalidation'],
  'release-leaves-open': ['isolation', 'teardown', 'hotplug'],
  'release-forgets-held': ['teardown', 'hotplug'],
  'move-forgets-held': ['faults'],
  'blocked-is-bypass': ['attach'],
  'shared-cache': ['isolation'],
  'fault-wrong-direction': ['faults'],
  'fault-wrong-address': ['faults'],
  'fault-wrong-cause': ['faults'],
  'fault-not-reported': ['faults'],
  'fault-wrong-stream': ['faults'],
  'one-isolation-key': ['manifest'],
  'any-context': ['errors'],
  'page-sizes-unsorted': ['manifest'],
  'large-page-first-part-only': ['page-sizes'],
  'own-region-on-the-move': ['reserved-regions'],
  'own-region-empty': ['reserved-regions'],
  'process-unmap-not-heard': ['process'],
  'process-reaches-kernel': ['process'],
  'process-rights-ignored': ['process'],
  'process-without-stall': ['process'],
  'process-never-resumes': ['process'],
  'process-table-leak': ['process', 'fail-nth'],
  'dirty-by-reads': ['dirty'],
  'dirty-without-invalidation': ['dirty'],
  'dirty-never-cleared': ['dirty'],
  'dirty-whole-table': ['dirty'],
  'dirty-cleared-by-reading': ['dirty'],
};

/** Without stall, unless that is what is broken: an access that waits for ever would be a second defect. */
const CAPABILITIES = { ...RICH, stall: false, processFormats: [] };

function capabilitiesFor(defect: string): IommuCapabilities {
  return /held|process|in-stall/.test(defect) ? RICH : CAPABILITIES;
}

describe('a broken backend fails', () => {
  test.each(Object.entries(BROKEN))('%s: noticed by %j', (defect, aspects) => {
    const backend = {
      name: defect,
      create: () => createOracleFixture(capabilitiesFor(defect), defect as Defect),
      random: { seed: 1, runs: 60 },
    };
    const checks = COMPLIANCE_CHECKS.filter((check) => aspects.includes(check.aspect));
    const failed = runComplianceChecks(backend, checks).filter((result) => result.error !== undefined);
    expect([...new Set(failed.map((result) => result.aspect))].sort()).toEqual([...aspects].sort());
  });
});

describe('what a manifest admits is not held against a backend', () => {
  test.each([
    ['disruptive', 'switch-through-blocked'],
    ['old-or-new', 'switch-page-by-page'],
  ] as const)('%s: %s', (switchKind, defect) => {
    const create = (): ComplianceFixture => createOracleFixture({ ...CAPABILITIES, switchKind }, defect);
    const checks = COMPLIANCE_CHECKS.filter((check) => check.aspect === 'switch');
    const failed = runComplianceChecks({ name: defect, create }, checks).filter((r) => r.error !== undefined);
    expect(failed).toEqual([]);
  });
});

describe('failSites', () => {
  test('names the steps of the backend and of the core that can fail', () => {
    const sites = failSites({ name: 'reference', create: () => createOracleFixture(POOR) });
    expect(sites).toEqual([
      'iommu-core.attach',
      'iommu-core.domain',
      'iommu-core.group',
      'iommu-core.journal',
      'iommu-core.map',
      'iommu-core.space-map',
    ]);
  });
});

describe('the failure tells what went wrong', () => {
  test('it is a ComplianceFailure with expectation and finding', () => {
    const check = COMPLIANCE_CHECKS.filter((c) => c.name === 'a write to nothing is reported as a write');
    const backend = { name: 'broken', create: () => createOracleFixture(POOR, 'fault-wrong-direction') };
    const [result] = runComplianceChecks(backend, check);
    expect(result?.error).toBeInstanceOf(ComplianceFailure);
    expect(String(result?.error)).toContain('the fault\'s direction: expected "write", got "read"');
  });

  test('random checks name the seed to run them again', () => {
    const checks = COMPLIANCE_CHECKS.filter((c) => c.aspect === 'model-random');
    const backend = {
      name: 'broken',
      create: () => createOracleFixture(CAPABILITIES, 'rights-swapped'),
      random: { seed: 5 },
    };
    expect(String(runComplianceChecks(backend, checks)[0]?.error)).toContain('seed: 5');
  });
});

describe('a backend that is right', () => {
  test('gives no failure, and its fixture is taken down once for each check', () => {
    let live = 0;
    let made = 0;
    const results = runComplianceChecks({
      name: 'right',
      create() {
        live++;
        made++;
        return createOracleFixture(POOR);
      },
      destroy: () => {
        live--;
      },
      random: { runs: 5 },
    });
    expect(results.filter((r) => r.error !== undefined)).toEqual([]);
    expect([made, live]).toEqual([COMPLIANCE_CHECKS.length, 0]);
  });

  test('random DMA is neither nearly always refused nor nearly always done', () => {
    const ends = { done: 0, faulted: 0 };
    const create = (): ComplianceFixture => {
      const fixture = createOracleFixture(CAPABILITIES);
      return {
        ...fixture,
        createMaster(device) {
          const master = fixture.createMaster(device);
          const count = <T extends Transfer>(transfer: T): T => {
            transfer.onEnd((state) => ends[state]++);
            return transfer;
          };
          const { name, streamId } = master;
          return {
            name,
            streamId,
            read: (iova: number, into: Uint8Array) => count(master.read(iova, into)),
            write: (iova: number, from: Uint8Array) => count(master.write(iova, from)),
          } as BusMaster;
        },
      };
    };
    const checks = COMPLIANCE_CHECKS.filter((c) => c.aspect === 'model-random');
    const [result] = runComplianceChecks({ name: 'counted', create, random: { seed: 1, runs: 100 } }, checks);
    expect(result?.error).toBeUndefined();
    const share = ends.done / (ends.done + ends.faulted);
    expect(ends.done).toBeGreaterThan(300);
    expect(share).toBeGreaterThan(0.25);
    expect(share).toBeLessThan(0.75);
  });

  test('every check has a name of its own', () => {
    const names = COMPLIANCE_CHECKS.map((check) => `${check.aspect}: ${check.name}`);
    expect(new Set(names).size).toBe(names.length);
  });
});
