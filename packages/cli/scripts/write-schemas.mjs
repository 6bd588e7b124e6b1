// Writes the JSON Schemas anew, from the built command line: `pnpm --filter iommu-lab schemas`.
import { writeFileSync } from 'node:fs';
import { schemaFiles } from '../dist/schemas.js';

for (const [name, content] of Object.entries(schemaFiles())) {
  writeFileSync(new URL(`../${name}`, import.meta.url), content);
}
