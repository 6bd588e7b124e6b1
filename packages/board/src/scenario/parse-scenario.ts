/** YAML text to a scenario, or every problem in it with line and column. */
import { LabError } from '@iommu-lab/machine';
import {
  type Document,
  isCollection,
  isMap,
  isNode,
  isScalar,
  LineCounter,
  type Node,
  parseDocument,
} from 'yaml';
import { boardByName } from '../boards.ts';
import { findMismatches } from './board-fit.ts';
import { type Scenario, ScenarioSchema } from './schema.ts';

/** A place in a scenario file and what is wrong there. */
export interface ScenarioProblem {
  readonly line: number;
  readonly column: number;
  readonly message: string;
}

/**
 * Reads a scenario, and checks it against the board it names.
 * @param fileName for messages only
 * @param boardName to check against, and play on, in place of the scenario's own
 * @throws LabError EINVAL; `details.problems` is the list of ScenarioProblem, and the message has one
 * `file:line:column what` line for each. ENODEV when there is no board `boardName`.
 */
export function parseScenario(text: string, fileName: string, boardName?: string): Scenario {
  const given = boardName === undefined ? undefined : boardByName(boardName);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  if (document.errors.length > 0) {
    throw problemsFound(
      fileName,
      document.errors.map((error) => ({ ...place(lines, error.pos[0]), message: error.message })),
    );
  }
  const result = ScenarioSchema.safeParse(document.toJS());
  if (result.success) {
    const scenario = { ...result.data, board: given?.name ?? result.data.board };
    const mismatches = findMismatches(scenario);
    if (mismatches.length === 0) return scenario;
    throw problemsFound(
      fileName,
      mismatches.map(({ path, message }) => ({
        ...place(lines, valueOffset(document, path)),
        message: `${path.join('.')}: ${message}`,
      })),
    );
  }
  throw problemsFound(
    fileName,
    result.error.issues.flatMap((issue) => {
      const where = issue.path.join('.');
      if (issue.code === 'unrecognized_keys') {
        return issue.keys.map((key) => ({
          ...place(lines, keyOffset(document, issue.path, key)),
          message: `${where === '' ? '' : `${where}: `}there is no setting "${key}"`,
        }));
      }
      return [
        {
          ...place(lines, valueOffset(document, issue.path)),
          message: `${where === '' ? 'scenario' : where}: ${issue.message}`,
        },
      ];
    }),
  );
}

function problemsFound(fileName: string, problems: readonly ScenarioProblem[]): LabError {
  const text = problems.map((p) => `${fileName}:${p.line}:${p.column} ${p.message}`).join('\n');
  return new LabError('EINVAL', text, { fileName, problems });
}

function place(lines: LineCounter, offset: number): { line: number; column: number } {
  const { line, col } = lines.linePos(offset);
  return { line: Math.max(line, 1), column: Math.max(col, 1) };
}

/** Where the value at `path` starts; for one that is missing, where the nearest enclosing one does. */
function valueOffset(document: Document, path: readonly PropertyKey[]): number {
  for (let length = path.length; length >= 0; length--) {
    const node: unknown = length === 0 ? document.contents : document.getIn(path.slice(0, length), true);
    if (isNode(node)) return startOf(node);
  }
  return 0;
}

function keyOffset(document: Document, path: readonly PropertyKey[], key: string): number {
  const map: unknown = path.length === 0 ? document.contents : document.getIn(path, true);
  const pair = isMap(map)
    ? map.items.find((item) => isScalar(item.key) && item.key.value === key)
    : undefined;
  return isNode(pair?.key) ? startOf(pair.key) : valueOffset(document, path);
}

function startOf(node: Node): number {
  if (isCollection(node) || isScalar(node)) return node.range?.[0] ?? 0;
  return 0;
}
