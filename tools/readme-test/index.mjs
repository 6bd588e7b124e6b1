import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export async function runReadme(testUrl) {
  const readme = readFileSync(new URL('../README.md', testUrl), 'utf8');
  const blocks = [...readme.matchAll(/^```(ts|text)\n(.*?)^```$/gms)].map(([, kind, body]) => ({
    kind,
    body,
  }));
  const outputs = [];
  for (const [index, block] of blocks.entries()) {
    if (block.kind !== 'ts') continue;
    const expected = blocks[index + 1];
    if (expected?.kind !== 'text')
      throw new Error(`README example ${outputs.length + 1}: no text block with its output`);
    // The module stands beside the test, so that its imports resolve as the package's own do.
    const file = fileURLToPath(new URL(`./readme-example-${outputs.length + 1}.gen.ts`, testUrl));
    writeFileSync(file, block.body);
    const output = await printedBy(() => import(file)).finally(() => rmSync(file));
    if (output !== expected.body)
      throw new Error(
        `README example ${outputs.length + 1} printed:\n${output}\nbut the README says:\n${expected.body}`,
      );
    outputs.push(output);
  }
  if (outputs.length === 0) throw new Error('the README has no ts example');
  return outputs;
}

async function printedBy(run) {
  const lines = [];
  const { log } = console;
  console.log = (...values) => lines.push(values.map(String).join(' '));
  try {
    await run();
  } finally {
    console.log = log;
  }
  return lines.map((line) => `${line}\n`).join('');
}
