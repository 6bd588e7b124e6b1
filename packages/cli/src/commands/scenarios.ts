/** `iommu-lab scenarios`: what comes with the package. */
import { textTable } from '@iommu-lab/board';
import { readShippedScenario, shippedScenarios } from '../scenario-files.ts';

/** Prints the scenarios that come along, and the steps of each. */
export function scenarios(): void {
  const rows = shippedScenarios().map((name) => {
    const scenario = readShippedScenario(name);
    return [name, scenario.name, scenario.steps.map((step) => step.do).join(', ')];
  });
  process.stdout.write(textTable([['run', 'shows', 'steps'], ...rows]));
}
