/** ERRORS.md, from the table of kinds and the reports of the wrong programs. */
import { DMA_ERROR_KINDS, type DmaErrorKind } from '../../../src/debug/dma-debug.ts';
import { PROGRAMS } from './programs.ts';
import { makeScene } from './scene.ts';

const INTRODUCTION = `# What the DMA checker reports

Written by \`test/debug/error-kinds.test.ts\` from \`src/debug/error-kinds.ts\` and the programs in
\`test/debug/support/programs.ts\`: each report below is what such a program gets. Bring it up to date with \`DMA_ERRORS=write\`.

\`new DmaDebug(world, { lineBytes, kernelMap })\`, given to the \`DmaLayer\`, looks at every call of every driver. The loads and
stores of the CPU are seen through \`watchCpu\`, the accesses of devices through \`watchBus\`. A report names two sites: who mapped, and
who did wrong. After it the call is carried out as the mapping was made, so that one mistake is not followed by its
consequences. Every mistake is reported; accesses that repeat one are counted in \`times\`.

The number is the class of the kernel's checker (kernel/dma/debug.c, CONFIG_DMA_API_DEBUG); without one, the kernel cannot
see the mistake. Where this checker says more than the kernel's:

- Several mappings at one address (a buffer mapped directly more than once) and none that fits exactly: the kernel says
  "not mapped"; here the mapping that fits best is taken and what does not fit is reported.
- Class 6: an unmap names segments here, and they are compared one by one.
- Class 8 is owed by maps that return their error as a value (\`errorAsValue\`); the others throw.
- Classes 11, 12 and 25 refuse the map, as the kernel does for 12 and 25.
- Class 15 and 16: all lines of a mapping are compared, not the first alone, and by device: two devices that snoop may share a line.
- Class 19 is not reported where 20 or 21 says more; the kernel prints both.
- Class 23: every site that left something, not one example.
- Class 15, and stores next to a buffer: a device that every mapping is bounced for (\`forceBounce\`) never touches the lines
  of its buffers. A store next to one is right, and so are two such buffers in one line that have no byte in common.

While it is on, \`needSync\` says yes for every streaming mapping, also where a sync does nothing (the kernel's
\`dma_dev_need_sync\` is true under CONFIG_DMA_API_DEBUG): the driver syncs, and is not taken for one that forgot to.

What it does not see:

- Loads, stores and accesses that do not go through the watched memory and bus. A device that a guest owns, or whose driver
  maps into a domain of its own, is nobody's for \`watchBus\`.
- A mapping with \`skipCpuSync\` before its first sync, and what the CPU does with the buffer after an unmap with \`skipCpuSync\`.
- Coherent memory that was freed and is used by its address instead of its handle: it is somebody else's memory by then.
- Every store that a missing sync loses: the first one is named, and the access, sync or unmap that loses it.
- More than the last 1024 unmaps of a device: an access to what was unmapped before counts as never mapped.
- A mask that is too large for the device.
- That a single mapping is bounced, because the buffer is out of the device's reach or its edges are an untrusted device's:
  it counts as written in place, so that lines shared with it are reported.
`;

export function errorReference(): string {
  const kinds = Object.keys(DMA_ERROR_KINDS) as readonly DmaErrorKind[];
  const rows = kinds.map((kind) => {
    const { kernelClass, title } = DMA_ERROR_KINDS[kind];
    return `- ${kernelClass === undefined ? '' : `class ${kernelClass}: `}[\`${kind}\`](#${kind}): ${title}`;
  });
  return [INTRODUCTION, `${rows.join('\n')}\n`, ...kinds.map(section)].join('\n');
}

function section(kind: DmaErrorKind): string {
  const { kernelClass, title, harm, remedy } = DMA_ERROR_KINDS[kind];
  const scene = makeScene(PROGRAMS[kind].scene);
  PROGRAMS[kind].wrong(scene);
  const text = scene.debug.reportsOf(kind)[0]?.text ?? '';
  const number =
    kernelClass === undefined ? 'Not seen by the kernel.' : `Class ${kernelClass} of the kernel.`;
  return `## ${kind}\n\n${title}. ${number}\n\n- **Why it hurts:** ${harm}\n- **How to mend it:** ${remedy}\n\n\`\`\`text\n${wrapped(text)}\n\`\`\`\n`;
}

/** Broken between words, for reading. */
function wrapped(text: string): string {
  const lines: string[] = [''];
  for (const word of text.split(' ')) {
    const last = lines.at(-1) ?? '';
    if (last !== '' && last.length + word.length >= 110) lines.push(word);
    else lines[lines.length - 1] = last === '' ? word : `${last} ${word}`;
  }
  return lines.join('\n');
}
