/** Runs the command line in a folder of its own: the built one as a person would, or in this process, which is quicker. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, jest } from '@jest/globals';
import { main } from '../src/main.ts';

/** The command as it is linked at an install; runs what is built. */
export const BIN: string = fileURLToPath(new URL('../bin/iommu-lab.mjs', import.meta.url));

export interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `iommu-lab ARGS` in `folder`. */
export function iommuLab(folder: string, ...args: readonly string[]): Ran {
  const { status, stdout, stderr } = spawnSync(process.execPath, [BIN, ...args], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, NODE_OPTIONS: '', NO_COLOR: '1', FORCE_COLOR: undefined },
  });
  return { status, stdout, stderr };
}

/** The same in this process, from the sources. */
export async function iommuLabHere(folder: string, ...args: readonly string[]): Promise<Ran> {
  const printed = { stdout: '', stderr: '' };
  const spies = (['stdout', 'stderr'] as const).map((name) =>
    jest.spyOn(process[name], 'write').mockImplementation((text) => {
      printed[name] += String(text);
      return true;
    }),
  );
  const back = process.cwd();
  process.chdir(folder);
  try {
    return { status: await main(args), ...printed };
  } finally {
    process.chdir(back);
    for (const spy of spies) spy.mockRestore();
  }
}

/** A folder for the tests of one file, removed after them. */
export function workFolder(): { readonly path: string; in(name: string): string } {
  let path = '';
  beforeAll(() => {
    path = mkdtempSync(join(tmpdir(), 'iommu-lab-test-'));
  });
  afterAll(() => rmSync(path, { recursive: true, force: true }));
  return {
    get path() {
      return path;
    },
    in: (name) => join(path, name),
  };
}
