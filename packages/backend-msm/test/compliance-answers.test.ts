import { readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { type BackendUnderTest, describeDifferences } from '@iommu-lab/iommu-compliance';
import { createMsmFixture } from './compliance-fixture.ts';

/** What DIFFERENCES.md of iommu-compliance is made from. COMPLIANCE_ANSWERS=write brings it up to date. */
const PATH = new URL('../compliance-answers.json', import.meta.url);

const BACKENDS: readonly BackendUnderTest[] = [
  { name: 'msm', create: () => createMsmFixture() },
  { name: 'msm, a spare bank', create: () => createMsmFixture({}, { contextBanks: 3 }) },
];

test('what this backend does where backends differ is what it has published', () => {
  const columns = BACKENDS.map((backend) => ({
    backend: backend.name,
    answers: Object.fromEntries(describeDifferences(backend).map((d) => [d.question, d.answer])),
  }));
  if (process.env['COMPLIANCE_ANSWERS'] === 'write') {
    writeFileSync(PATH, `${JSON.stringify(columns, null, 2)}\n`);
  }
  expect(JSON.parse(readFileSync(PATH, 'utf8'))).toEqual(columns);
});
