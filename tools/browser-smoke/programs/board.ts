/** The whole stack in a browser: every kind of step, and a report that says all is well. */
import { parseScenario, runScenario } from '@iommu-lab/board';

const SCENARIO = `
version: 1
name: in a browser
frames: 1
steps:
  - do: pipeline
  - do: share-engine
  - do: guest
  - { do: trespass, device: vfe, attempt: write, at: beyond-end, expect: stopped }
`;

export function run(): void {
  const { report, artifacts } = runScenario(parseScenario(SCENARIO, 'browser.yaml'));
  const problems = report.steps.flatMap((step) => step.problems);
  if (problems.length > 0) throw new Error(problems.join('\n'));
  if (report.faults.length !== 1 || artifacts.length !== 4) throw new Error('not what the scenario does');
}
