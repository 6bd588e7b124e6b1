/** `iommu-lab boards`: the machines there are, who sits behind which IOMMU, and under which context names. */
import { BOARDS, type SocDescription, textTable } from '@iommu-lab/board';
import { hex } from '@iommu-lab/machine';

/** Prints every board of the project, one behind the other. */
export function boards(): void {
  for (const board of BOARDS) process.stdout.write(describeBoard(board));
}

function describeBoard(board: SocDescription): string {
  const rows = board.smmus.flatMap((smmu) =>
    smmu.contexts.map((context, index) => [
      index === 0 ? smmu.provider : '',
      index === 0 ? hex(smmu.base) : '',
      context.context,
      String(context.bank),
      context.machineIds.join(' '),
      board.masters
        .filter((master) => master.contexts.includes(context.context))
        .map((master) => master.name)
        .join(' '),
    ]),
  );
  const head = ['IOMMU', 'registers', 'context', 'bank', 'machine ids', 'device'];
  return `${board.name}: ${board.title}\n\n${textTable([head, ...rows], { right: [3] })}\n`;
}
