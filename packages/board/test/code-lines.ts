import { readFileSync } from 'node:fs';

/** Lines of a source file that are neither empty nor comment. */
export function codeLines(file: URL): number {
  const code = readFileSync(file, 'utf8').replace(/\/\*[\s\S]*?\*\//g, '');
  return code.split('\n').filter((line) => line.trim() !== '' && !line.trim().startsWith('//')).length;
}
