import { readdirSync, writeFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { encode } from 'fast-png';
import { iommuLab, iommuLabHere, workFolder } from './support.ts';

const folder = workFolder();
const STEPS = 'steps:\n  - do: pipeline\n';

/** A mistake, and what its one line must name: the place, then the hint. */
const mistakes: readonly [
  name: string,
  args: readonly string[],
  files: Readonly<Record<string, string | Uint8Array>>,
  line: RegExp,
][] = [
  ['no command', [], {}, /no command given; .*--help/],
  ['an unknown command', ['rum'], {}, /unknown command 'rum'.*run.*--help/],
  ['an unknown option', ['run', '--sed', '3'], {}, /unknown option '--sed'.*--seed/],
  ['an unknown board', ['run', '--board', 'pdp11'], {}, /unknown board "pdp11"; there is msm8x60 \(.*boards/],
  ['a number of frames that is none', ['run', '--frames', 'two'], {}, /--frames.*'two'.*whole number from 1/],
  ['no frames', ['run', '--frames', '0'], {}, /--frames.*'0'.*whole number from 1/],
  ['half a frame', ['run', '--frames', '1.5'], {}, /--frames.*'1.5'.*whole number from 1/],
  ['a negative seed', ['run', '--seed', '-1'], {}, /--seed.*'-1'.*whole number from 0/],
  ['a missing scenario', ['run', 'no.yaml'], {}, /no\.yaml: there is no such file \(.*default/],
  ['a scenario that is a folder', ['run', '.'], {}, /\.: it is a folder \(/],
  [
    'malformed YAML',
    ['run', 's.yaml'],
    { 's.yaml': `version: 1\nname: "x\n${STEPS}` },
    /s\.yaml:\d+:\d+ .*\(.*docs\/scenarios\.md describes the format\)/,
  ],
  [
    'an unknown setting',
    ['run', 's.yaml'],
    { 's.yaml': `version: 1\nname: x\n${STEPS}    degres: 90\n` },
    /s\.yaml:5:5 steps\.0: there is no setting "degres" \(/,
  ],
  [
    'several mistakes at once',
    ['run', 's.yaml'],
    { 's.yaml': `version: 2\nname: x\nframes: 0\n${STEPS}` },
    /s\.yaml:1:10 version: .*, and 1 more problem/,
  ],
  [
    'an unknown device',
    ['run', 's.yaml'],
    { 's.yaml': `version: 1\nname: x\n${STEPS}    camera: telescope\n` },
    /s\.yaml:5:13 steps\.0\.camera: msm8x60 has no camera "telescope"; there is vfe \(/,
  ],
  [
    'a missing picture',
    ['run', '--image', 'no.png'],
    {},
    /no\.png: there is no such file \(--image takes a PNG/,
  ],
  [
    'a picture that is text',
    ['run', '--image', 'p.png'],
    { 'p.png': 'hello' },
    /p\.png: not a readable PNG: .*\(--image/,
  ],
  [
    'a broken picture',
    ['run', '--image', 'p.png'],
    { 'p.png': brokenPng() },
    /p\.png: not a readable PNG: .*\(--image/,
  ],
  [
    'an output folder below a file',
    ['run', '--out', 'f/deep/down'],
    { f: 'x' },
    /f\/deep\/down: cannot write there: .*\(--out/,
  ],
  [
    'an output folder that is a file',
    ['run', '--out', 'f'],
    { f: 'x' },
    /f: cannot write there: a file is in the way \(--out/,
  ],
];

test.each(mistakes)('%s: one line, exit code 2, nothing written', async (_name, args, files, line) => {
  for (const [name, content] of Object.entries(files)) writeFileSync(folder.in(name), content);
  const before = readdirSync(folder.path).sort();
  const { status, stdout, stderr } = await iommuLabHere(folder.path, ...args);
  expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
  expect(stderr).toMatch(/^iommu-lab: .*\n$/);
  expect(stderr.trimEnd().split('\n')).toHaveLength(1);
  expect(stderr).toMatch(line);
  expect(readdirSync(folder.path).sort()).toEqual(before);
});

test('the process ends with that exit code and that line, and nothing else', () => {
  expect(iommuLab(folder.path, 'run', 'no.yaml')).toEqual({
    status: 2,
    stdout: '',
    stderr: expect.stringMatching(/^iommu-lab: no\.yaml: there is no such file \(.*\)\n$/),
  });
});

function brokenPng(): Uint8Array {
  const png = encode({
    width: 4,
    height: 4,
    data: new Uint8Array(48).fill(9),
    channels: 3,
    depth: 8,
  }).slice();
  png[png.length - 20] = (png[png.length - 20] as number) ^ 0xff;
  return png;
}
