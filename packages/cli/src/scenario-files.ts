/** Where scenarios come from: the user's files, and those that come with the package. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseScenario, type Scenario } from '@iommu-lab/board';
import { isLabError } from '@iommu-lab/machine';
import { fileProblem, UserError } from './user-error.ts';

const SHIPPED = new URL('../scenarios/', import.meta.url);
const FORMAT = fileURLToPath(new URL('../docs/scenarios.md', import.meta.url));

/** Names of the scenarios that come with iommu-lab, `default` first. */
export function shippedScenarios(): readonly string[] {
  const names = readdirSync(SHIPPED)
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => file.replace(/\.yaml$/, ''));
  return names.sort((a, b) => Number(b === 'default') - Number(a === 'default') || a.localeCompare(b));
}

/** A scenario that comes with iommu-lab. */
export function readShippedScenario(name: string, board?: string): Scenario {
  return parseScenario(readFileSync(new URL(`${name}.yaml`, SHIPPED), 'utf8'), `${name}.yaml`, board);
}

/**
 * The scenario in the file of that path, else the shipped one of that name.
 * @param board to play it on, in place of the one it names
 * @throws UserError when there is neither, or with the first problem in the file and its place
 */
export function readScenario(pathOrName: string, board?: string): Scenario {
  if (!existsSync(pathOrName) && shippedScenarios().includes(pathOrName)) {
    return readShippedScenario(pathOrName, board);
  }
  let text: string;
  try {
    text = readFileSync(pathOrName, 'utf8');
  } catch (error) {
    throw new UserError(
      `${pathOrName}: ${fileProblem(error)}`,
      `a scenario is a YAML file, or one of ${shippedScenarios().join(', ')}`,
    );
  }
  try {
    return parseScenario(text, pathOrName, board);
  } catch (error) {
    if (!isLabError(error, 'EINVAL')) throw error;
    const [first, ...others] = error.message.slice('EINVAL: '.length).split('\n');
    const more = others.length === 0 ? '' : `, and ${others.length} more problem(s)`;
    throw new UserError(`${first}${more}`, `${relative('.', FORMAT)} describes the format`);
  }
}
