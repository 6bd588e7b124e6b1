import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { runReadme } from '../index.mjs';

let folder: string;
let testUrl: string;

beforeEach(() => {
  folder = mkdtempSync(join(import.meta.dirname, 'readme-'));
  mkdirSync(join(folder, 'test'));
  testUrl = pathToFileURL(join(folder, 'test', 'readme.test.ts')).href;
});

afterEach(() => rmSync(folder, { recursive: true }));

function readme(text: string): void {
  writeFileSync(join(folder, 'README.md'), text);
}

describe('runReadme', () => {
  test('runs each ts block and compares what it prints with the text block behind it', async () => {
    readme('# x\n\n```ts\nconst n: number = 6;\nconsole.log("n", n);\n```\n\nprints\n\n```text\nn 6\n```\n');
    await expect(runReadme(testUrl)).resolves.toEqual(['n 6\n']);
  });

  test('fails when the output differs', async () => {
    readme('```ts\nconsole.log(1);\n```\n```text\n2\n```\n');
    await expect(runReadme(testUrl)).rejects.toThrow('printed:\n1\n');
  });

  test('fails on an example that throws', async () => {
    readme('```ts\nthrow new Error("broken example");\n```\n```text\n```\n');
    await expect(runReadme(testUrl)).rejects.toThrow('broken example');
  });

  test('fails on an example without output and on a README without example', async () => {
    readme('```ts\nconsole.log(1);\n```\n');
    await expect(runReadme(testUrl)).rejects.toThrow('no text block');
    readme('# nothing\n');
    await expect(runReadme(testUrl)).rejects.toThrow('no ts example');
  });
});
