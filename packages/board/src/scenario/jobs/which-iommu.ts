/**
 * "How does the API know which IOMMU to talk to?" Every answer does the same job in every situation: map a buffer for devices,
 * let them read and write it, unmap it, and see them stopped. What comes of it is compared with what is documented.
 */
import { ANSWER_LINES, ANSWERS } from '../../which-iommu/answers/index.ts';
import type { Answer } from '../../which-iommu/answer.ts';
import { EXPECTED } from '../../which-iommu/expected.ts';
import { Lab } from '../../which-iommu/lab.ts';
import { play, type Played } from '../../which-iommu/play.ts';
import { type Situation, SITUATIONS } from '../../which-iommu/situations.ts';
import type { WhichIommuStep } from '../schema.ts';
import { textTable } from '../text-table.ts';
import type { Job, JobContext } from './job.ts';

interface Cell extends Played {
  readonly answer: Answer;
  readonly situation: Situation;
}

/** @throws LabError ENOMEM */
export function* whichIommu({ system, atEnd }: JobContext, _step: WhichIommuStep): Job {
  const lab = new Lab(system);
  atEnd(() => {
    lab.returnToCore();
    lab.close();
  });
  const cells: Cell[] = [];
  const problems: string[] = [];
  for (const answer of ANSWERS) {
    yield answer.name;
    for (const situation of SITUATIONS) {
      const cell: Cell = { answer, situation, ...play(lab, answer, situation) };
      cells.push(cell);
      const expected = EXPECTED[answer.name][situation.name];
      const where = nameOf(cell);
      if (cell.outcome !== expected) {
        problems.push(`${where}: ${cell.message || 'it went well'}; expected ${expected}`);
      }
      if (cell.left !== '') problems.push(`${where}: left behind: ${cell.left}`);
    }
  }
  const verdict =
    problems.length === 0
      ? 'every outcome is the documented one, the errors too'
      : 'not every outcome is the documented one';
  const done = cells.filter((cell) => cell.outcome === 'ok').length;
  return {
    title: `which IOMMU does the API talk to? ${ANSWERS.length} answers in ${SITUATIONS.length} situations: ${done} work, ${cells.length - done} do not`,
    results: [verdict, outcomes(cells), legend(), failures(cells), costs(cells)],
    problems,
    artifacts: [],
  };
}

function outcomes(cells: readonly Cell[]): string {
  const rows = ANSWERS.map((answer) => [
    answer.name,
    ...cells.filter((cell) => cell.answer === answer).map((cell) => cell.outcome),
  ]);
  return textTable([['', ...SITUATIONS.map(({ name }) => name)], ...rows]);
}

function legend(): string {
  const who = textTable(ANSWERS.map(({ name, whoSays }) => [name, whoSays]));
  return `${textTable(SITUATIONS.map(({ name, title }) => [name, title]))}\nwho says which IOMMU is meant\n${who}`;
}

function failures(cells: readonly Cell[]): string {
  const failed = cells.filter((cell) => cell.outcome !== 'ok');
  return ['why not', ...failed.map((cell) => `${nameOf(cell)}\n  ${cell.message}`)].join('\n');
}

function nameOf({ answer, situation }: Cell): string {
  return `${answer.name}/${situation.name}`;
}

/** Tables while the buffer is mapped, and how long the caller's code is. */
function costs(cells: readonly Cell[]): string {
  const shown = SITUATIONS.filter(({ name }) => ['one', 'two', 'display', 'mixed'].includes(name));
  const rows = ANSWERS.map((answer) => [
    answer.name,
    ...shown.map((situation) => {
      const cell = cells.find((c) => c.answer === answer && c.situation === situation);
      const tables = cell?.outcome === 'ok' ? cell.tables : undefined;
      return tables === undefined ? '-' : `${tables.count} / ${tables.bytes}`;
    }),
    String(ANSWER_LINES[answer.file]),
  ]);
  const head = ['tables / bytes', ...shown.map(({ name }) => name), 'lines'];
  return textTable([head, ...rows], { right: [1, 2, 3, 4, 5] }).trimEnd();
}
