import { describe, expect, test } from '@jest/globals';
import { isLabError } from '@iommu-lab/machine';
import { parseScenario } from '../src/index.ts';

const MINIMAL = 'version: 1\nname: x\nsteps:\n  - do: pipeline\n';

function problemOf(text: string): string {
  try {
    parseScenario(text, 'my.yaml');
  } catch (error) {
    if (isLabError(error, 'EINVAL')) return error.message;
    throw error;
  }
  throw new Error('no problem found');
}

describe('parseScenario', () => {
  test('a minimal scenario gets every default', () => {
    expect(parseScenario(MINIMAL, 'my.yaml')).toEqual({
      version: 1,
      name: 'x',
      board: 'msm8x60',
      seed: 1,
      frames: 2,
      hardware: { coherentWalk: false, tlbEntries: 64 },
      steps: [{ do: 'pipeline', camera: 'vfe', rotator: 'rot', display: 'mdp', degrees: 90 }],
    });
  });

  test('the place of a wrong value is its own line and column', () => {
    expect(problemOf(`${MINIMAL}    degrees: 45\n`)).toMatch(/^EINVAL: my\.yaml:5:14 steps\.0\.degrees: /);
  });

  test('the place of an unknown setting is its key, whatever is wrong beside it', () => {
    const text = problemOf(`${MINIMAL}    degres: 90\n    camera: 7\n`);
    expect(text).toContain('my.yaml:5:5 steps.0: there is no setting "degres"');
    expect(text).toContain('my.yaml:6:13 steps.0.camera: ');
  });

  test('the place of a missing setting is the step that misses it', () => {
    const text = problemOf(`${MINIMAL}  - do: trespass\n    device: vfe\n    expect: stopped\n`);
    expect(text).toMatch(/my\.yaml:5:5 steps\.1\.attempt: /);
  });

  test('an unknown step names the ones there are', () => {
    expect(problemOf('version: 1\nname: x\nsteps:\n  - do: dance\n')).toMatch(
      /my\.yaml:4:9 steps\.0\.do: .*/,
    );
  });

  test('broken YAML is reported with its place', () => {
    expect(problemOf('version: 1\nname: [x\nsteps: 3\n')).toMatch(/^EINVAL: my\.yaml:\d+:\d+ /);
  });

  test('an empty file, a list and a duplicate key are problems, not crashes', () => {
    expect(problemOf('')).toMatch(/my\.yaml:1:1 scenario: /);
    expect(problemOf('- 1\n')).toMatch(/my\.yaml:1:1 scenario: /);
    expect(problemOf('version: 1\nversion: 1\nname: x\n')).toMatch(/my\.yaml:2:1 /);
  });

  test('a job cannot touch more pages than its buffers have, nor run on a device of another kind', () => {
    const step = (settings: string): string =>
      `version: 1\nname: x\nsteps:\n  - { do: process-space, ${settings} }\n`;
    expect(problemOf(step('pages: 4, usedPages: 5'))).toMatch(
      /^EINVAL: my\.yaml:4:47 steps\.0\.usedPages: the job cannot touch more pages than there are$/,
    );
    expect(problemOf(step('pages: 300'))).toMatch(/steps\.0\.pages: /);
    expect(problemOf(step('usedPages: 1'))).toMatch(/steps\.0\.usedPages: /);
    expect(problemOf(step('engine: ijpeg'))).toMatch(
      /steps\.0\.engine: msm8x60 has no 2D engine "ijpeg"; there is gfx2d0$/,
    );
  });

  test('the comparison of answers has no settings', () => {
    expect(problemOf('version: 1\nname: x\nsteps:\n  - { do: which-iommu, engine: gfx2d0 }\n')).toBe(
      'EINVAL: my.yaml:4:24 steps.0: there is no setting "engine"',
    );
  });

  test('hexadecimal IOVAs are read as numbers', () => {
    const scenario = parseScenario(
      `${MINIMAL}  - { do: trespass, device: vfe, attempt: read, at: 0xffffffff, expect: stopped }\n`,
      'my.yaml',
    );
    expect(scenario.steps[1]).toMatchObject({ at: 0xffffffff });
  });
});
