import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from '@jest/globals';
import { describeDifferences } from '../src/index.ts';
import { createOracleFixture, POOR, RICH } from './oracle-fixture.ts';

test('DIFFERENCES.md says what the backends have answered', () => {
  const script = fileURLToPath(new URL('../scripts/write-differences.mjs', import.meta.url));
  const { status, stderr } = spawnSync(process.execPath, [script, '--check'], { encoding: 'utf8' });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
});

describe('describeDifferences', () => {
  test('asks every backend the same questions, in the same order', () => {
    const [rich, poor] = [RICH, POOR].map((capabilities) =>
      describeDifferences({ name: 'reference', create: () => createOracleFixture(capabilities) }),
    );
    expect(rich?.map((d) => d.question)).toEqual(poor?.map((d) => d.question));
    expect(new Set(rich?.map((d) => d.question)).size).toBe(rich?.length);
  });

  test('hears what the backend does, not what it is', () => {
    const answers = (capabilities: typeof RICH): ReadonlyMap<string, string> =>
      new Map(
        describeDifferences({ name: 'reference', create: () => createOracleFixture(capabilities) }).map(
          ({ question, answer }) => [question, answer],
        ),
      );
    const [rich, poor] = [answers(RICH), answers(POOR)];
    const both = (question: string): readonly (string | undefined)[] => [
      rich.get(question),
      poor.get(question),
    ];
    expect(both('page sizes')).toEqual(['4 KiB, 64 KiB, 1 MiB', '8 KiB']);
    expect(both('map write-only')).toEqual(['yes', 'yes, with reads']);
    expect(both('unmap the first granule of a large page')).toEqual(['1 MiB', 'one size only']);
    expect(both('pass through untranslated')).toEqual(['yes', 'EOPNOTSUPP']);
    expect(both('an access that is refused')).toEqual(['waits for a verdict', 'ends at once']);
    expect(both('note which pages are written')).toEqual(['yes', 'EOPNOTSUPP']);
    expect(both('work in the address space of a process')).toEqual(['yes: compliance-map', 'EOPNOTSUPP']);
    expect(both('IOVAs the hardware keeps')).toEqual(['msi 1000000', 'msi 1000000']);
  });
});
