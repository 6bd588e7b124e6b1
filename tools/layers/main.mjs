// Compares the imports and dependencies of packages/* with the map in layers.json.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { checkLayers } from './check.mjs';

const map = JSON.parse(readFileSync(new URL('layers.json', import.meta.url), 'utf8'));
const { problems, imports } = checkLayers(fileURLToPath(new URL('../..', import.meta.url)), map);
for (const problem of problems) console.error(problem);
console.log(
  `layers: ${Object.keys(map.packages).length} packages, ${imports} imports, ${problems.length} problems`,
);
process.exitCode = problems.length === 0 ? 0 : 1;
