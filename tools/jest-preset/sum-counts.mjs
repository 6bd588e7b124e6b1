// Prints the sum of what counts-reporter.mjs left in every package and tool.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const sum = { passed: 0, failed: 0 };
for (const group of ['packages', 'tools'])
  for (const folder of readdirSync(`${root}/${group}`)) {
    const file = `${root}/${group}/${folder}/.jest/counts.json`;
    if (!existsSync(file)) continue;
    const counts = JSON.parse(readFileSync(file, 'utf8'));
    sum.passed += counts.passed;
    sum.failed += counts.failed;
  }
console.log(`${sum.passed} passed, ${sum.failed} failed`);
