import { cpSync, existsSync, mkdirSync, readdirSync, realpathSync, symlinkSync } from 'node:fs';
import { basename, dirname, join, relative, sep } from 'node:path';

const WORKSPACE_FILE = 'pnpm-workspace.yaml';
/** Written by tools, or of no use to a test. */
const LEFT_OUT = new Set([
  'node_modules',
  'dist',
  'coverage',
  '.jest',
  '.turbo',
  '.mutation',
  '.stryker-tmp',
]);

export function copyWorkspace(packageFolder, target) {
  const home = realpathSync(packageFolder);
  const root = rootOf(home);
  const folders = packagesUsedBy(home, root);
  for (const folder of folders)
    cpSync(folder, join(target, relative(root, folder)), {
      recursive: true,
      filter: (path) => path === folder || !LEFT_OUT.has(basename(path)),
    });
  for (const folder of folders)
    for (const [name, real] of dependencies(folder)) {
      const link = join(target, relative(root, folder), 'node_modules', name);
      mkdirSync(dirname(link), { recursive: true });
      symlinkSync(folders.has(real) ? join(target, relative(root, real)) : real, link, 'junction');
    }
  const marker = join(root, WORKSPACE_FILE);
  if (existsSync(marker)) cpSync(marker, join(target, WORKSPACE_FILE));
  return join(target, relative(root, home));
}

/** The folder itself, and what it uses of the same workspace, directly or not. */
function packagesUsedBy(home, root) {
  const found = new Set([home]);
  for (const folder of found)
    for (const [, real] of dependencies(folder)) {
      const path = relative(root, real).split(sep);
      if (path[0] !== '..' && !path.includes('node_modules')) found.add(real);
    }
  return found;
}

/** What the package manager has linked into a folder: name and real place. */
function dependencies(folder) {
  const modules = join(folder, 'node_modules');
  const visible = (path) => readdirSync(path).filter((name) => !name.startsWith('.'));
  if (!existsSync(modules)) return [];
  return visible(modules)
    .flatMap((name) =>
      name.startsWith('@') ? visible(join(modules, name)).map((inner) => join(name, inner)) : [name],
    )
    .map((name) => [name, realpathSync(join(modules, name))]);
}

function rootOf(home) {
  for (let folder = home; folder !== dirname(folder); folder = dirname(folder))
    if (existsSync(join(folder, WORKSPACE_FILE))) return folder;
  return dirname(home);
}
