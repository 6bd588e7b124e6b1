import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { iommuLabHere, workFolder } from './support.ts';

const folder = workFolder();
const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const block = /^```sh\n(.*?)^```$/ms.exec(readme)?.[1] ?? '';
const commands = block
  .trimEnd()
  .split('\n')
  .map((line) => line.replace(/#.*/, '').trim());

test('the README has commands', () => {
  expect(commands.length).toBeGreaterThan(3);
});

test.each(commands)('%s works', async (command) => {
  const [program, ...args] = command.split(' ');
  expect(program).toBe('iommu-lab');
  const { status, stdout, stderr } = await iommuLabHere(folder.path, ...args);
  expect([status, stderr]).toEqual([0, '']);
  expect(stdout).not.toBe('');
});
