// Writes DIFFERENCES.md from the answers that the backends' tests pin: `pnpm --filter @iommu-lab/iommu-compliance differences`.
// With --check it only tells, by its exit code, whether the file is current.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';

const OUTPUT = new URL('../DIFFERENCES.md', import.meta.url);
const PACKAGES = new URL('../../', import.meta.url);

/** Facts about table code of Linux, in the words of this project. */
const KERNEL = [
  ['', 'Arm LPAE', 'Arm short descriptor', 'shared library', 'MSM driver of 2010', 'virtio-iommu'],
  [
    'map over a page',
    '`EEXIST`',
    '`EEXIST`',
    '`EADDRINUSE`',
    'overwritten',
    '`EINVAL` by the device; taken while nothing is attached',
  ],
  [
    'map a large page over live small ones',
    'takes the place of their table',
    'takes the place of their table',
    '`EADDRINUSE`; an empty table gives way',
    'overwritten',
    '`EINVAL`',
  ],
  ['map outside the range', '`ERANGE`', '`ERANGE`', '`ERANGE`', 'not checked', '`ERANGE` by the device'],
  [
    'map without rights',
    '`EINVAL`',
    '`EINVAL`',
    'by format: refused, or taken',
    'rights are ignored',
    'sent as it is',
  ],
  [
    'unmap the head of a large page',
    'refused, 0 bytes',
    'refused, 0 bytes',
    'the whole page',
    'not foreseen',
    'all that one map call mapped',
  ],
  [
    'unmap from the middle of one',
    'refused, 0 bytes',
    'refused, 0 bytes',
    '0 bytes',
    'not foreseen',
    '0 bytes',
  ],
  [
    'unmap over a hole',
    'stops there; not noticed inside a table that goes whole',
    'stops there; not noticed inside a table that goes whole',
    'stops there',
    '`ENODEV`',
    '0 bytes, and its own records are gone',
  ],
  [
    'where to read it',
    'drivers/iommu/io-pgtable-arm.c: arm_lpae_init_pte, __arm_lpae_unmap',
    'drivers/iommu/io-pgtable-arm-v7s.c: arm_v7s_init_pte, __arm_v7s_unmap',
    'drivers/iommu/generic_pt/iommu_pt.h',
    'arch/arm/mach-msm/iommu.c (2.6.37): msm_iommu_map, msm_iommu_unmap',
    'drivers/iommu/virtio-iommu.c: viommu_map_pages, viommu_unmap_pages',
  ],
];

const text = differences();
if (!process.argv.includes('--check')) writeFileSync(OUTPUT, text);
else if (!existsSync(OUTPUT) || readFileSync(OUTPUT, 'utf8') !== text) {
  console.error('DIFFERENCES.md is not what the answers say: run the script "differences"');
  process.exitCode = 1;
}

function differences() {
  const backends = readdirSync(PACKAGES)
    .sort()
    .map((name) => new URL(`${name}/compliance-answers.json`, PACKAGES))
    .filter((path) => existsSync(path))
    .flatMap((path) => JSON.parse(readFileSync(path, 'utf8')));
  const questions = [...new Set(backends.flatMap(({ answers }) => Object.keys(answers)))];
  const rows = questions.map((question) => [
    question,
    ...backends.map(({ answers }) => answers[question] ?? '-'),
  ]);
  const isSame = ([, ...answers]) => new Set(answers).size === 1;
  const header = ['', ...backends.map(({ backend }) => backend)];
  return `# Where backends differ

<!-- Written by scripts/write-differences.mjs from packages/*/compliance-answers.json. -->

All of this is within the contract. \`describeDifferences\` asks a backend by operating it; each backend's test pins its answers.
\`yes\` stands for done.

${table([header, ...rows.filter((row) => !isSame(row))])}

The same everywhere, since the core decides it before a backend is asked, or because the contract leaves no choice:

${table([['', 'all'], ...rows.filter(isSame).map(([question, answer]) => [question, answer])])}

## The kernel, for comparison

What the same calls do in Linux depends on the table code behind the driver. Here the core has decided: \`EEXIST\` over anything
that is mapped, \`ERANGE\` outside, a large page goes whole from its head, and from its middle it is refused.

${table(KERNEL)}
`;
}

/** Padded, as Prettier lays tables out. */
function table(rows) {
  const widths = rows[0].map((_, column) => Math.max(3, ...rows.map((row) => row[column].length)));
  const line = (cells, filler = ' ') =>
    `|${cells.map((cell, column) => ` ${cell.padEnd(widths[column], filler)} `).join('|')}|`;
  const [header, ...body] = rows;
  return [
    line(header),
    line(
      header.map(() => ''),
      '-',
    ),
    ...body.map((row) => line(row)),
  ].join('\n');
}
