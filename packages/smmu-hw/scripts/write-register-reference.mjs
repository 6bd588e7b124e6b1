// Writes REGISTERS.md anew, from the sources: `pnpm --filter @iommu-lab/smmu-hw registers`.
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild'; // Node 20 does not run TypeScript

const { outputFiles } = await build({
  entryPoints: [fileURLToPath(new URL('../test/support/register-reference.ts', import.meta.url))],
  bundle: true,
  write: false,
  format: 'esm',
  conditions: ['@iommu-lab/source'], // siblings from their sources, as the tests read them
});
const code = Buffer.from(outputFiles[0].contents).toString('base64');
const { registerReference } = await import(`data:text/javascript;base64,${code}`);
writeFileSync(new URL('../REGISTERS.md', import.meta.url), registerReference());
