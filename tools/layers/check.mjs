import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { join, relative, resolve, sep } from 'node:path';
import ts from 'typescript';

const SOURCE = /\.[cm]?[jt]sx?$/;
const FIELDS = ['dependencies', 'peerDependencies', 'optionalDependencies', 'devDependencies'];

export function checkLayers(root, map) {
  const problems = [...checkMap(map)];
  const folders = existsSync(join(root, 'packages')) ? readdirSync(join(root, 'packages')).sort() : [];
  const packages = folders.filter((folder) => existsSync(join(root, 'packages', folder, 'package.json')));
  const folderOf = new Map(Object.entries(map.packages).map(([f, row]) => [row.name ?? map.scope + f, f]));
  const declared = new Map(); // folder -> the workspace packages it depends on, for the cycle check
  let imports = 0;

  for (const missing of Object.keys(map.packages).filter((folder) => !packages.includes(folder)))
    problems.push(
      `tools/layers/layers.json:1: '${missing}' has a row but no folder in packages/. Remove it.`,
    );

  for (const folder of packages) {
    const row = map.packages[folder];
    if (!row) {
      problems.push(
        `packages/${folder}/package.json:1: '${folder}' is not in the map. Add it to tools/layers/layers.json.`,
      );
      continue;
    }
    const home = join(root, 'packages', folder);
    const manifestText = readFileSync(join(home, 'package.json'), 'utf8');
    const manifest = JSON.parse(manifestText);
    const ctx = { root, map, folder, row, home, manifest, folderOf };
    if (manifest.name !== (row.name ?? map.scope + folder))
      problems.push(
        `packages/${folder}/package.json:1: the name is '${manifest.name}', the map says otherwise. Correct one.`,
      );
    declared.set(folder, new Set());
    for (const field of FIELDS)
      for (const name of Object.keys(manifest[field] ?? {})) {
        const target = folderOf.get(name);
        if (target) declared.get(folder).add(target);
        const why = badDependency(ctx, field, name, target);
        if (why)
          problems.push(`packages/${folder}/package.json:${lineOf(manifestText, field, name)}: ${why}`);
      }
    for (const part of ['src', 'test', 'bench'])
      for (const file of sourceFiles(join(home, part)))
        for (const found of importsOf(file)) {
          imports += 1;
          const why = badImport(ctx, part, file, found.specifier);
          if (why) problems.push(`${slashes(relative(root, file))}:${found.line}: ${why}`);
        }
  }
  problems.push(...cycles(declared));
  return { problems, imports };
}

/** The map itself: rows point to rows that exist, never upwards. */
function* checkMap(map) {
  for (const [folder, row] of Object.entries(map.packages)) {
    const lists = [row.imports, row.testImports ?? [], ...Object.values(row.folders ?? {})];
    for (const entry of new Set(lists.flat())) {
      const target = map.packages[entry.split('/')[0]];
      if (!target)
        yield `tools/layers/layers.json:1: '${folder}' names '${entry}', which has no row. Correct it.`;
      else if (target.layer > row.layer)
        yield `tools/layers/layers.json:1: '${folder}' (layer ${row.layer}) names '${entry}' of the higher layer ${target.layer}. Move one.`;
    }
  }
}

function badDependency({ map, folder, row }, field, name, target) {
  if (!target) {
    if (!name.startsWith(map.scope)) return undefined; // external
    const tool = name.slice(map.scope.length);
    if (!map.tools.includes(tool))
      return `${field} has '${name}', which is not in the map. Add a row for it.`;
    return field === 'devDependencies'
      ? undefined
      : `${field} has the tool '${name}'. Move it to devDependencies.`;
  }
  if (field === 'devDependencies') {
    if (testMayImport(map, folder, row, target)) return undefined;
    return `devDependencies has '${name}' of layer ${map.packages[target].layer}, but the tests of '${folder}' (layer ${row.layer}) may use lower layers only. Move the test up, or add testImports to the map.`;
  }
  if (row.imports.some((entry) => entry.split('/')[0] === target)) return undefined;
  return `${field} has '${name}', which the map does not allow to '${folder}'. ${allowedHint(row.imports)}`;
}

function badImport(ctx, part, file, specifier) {
  const { map, folder, row, home, manifest, folderOf } = ctx;
  if (specifier === undefined)
    return 'a dynamic import of a computed name cannot be checked. Write the name as a string literal.';
  if (specifier.startsWith('file:') || specifier.startsWith('/'))
    return `'${specifier}' is an absolute path. Import by package name or relatively.`;
  if (specifier.startsWith('.')) return badRelative(ctx, part, file, specifier);
  if (specifier.startsWith('#') || isBuiltin(specifier)) return undefined; // the linter decides on Node's modules

  const name = specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
  const target = folderOf.get(name);
  if (target === folder) {
    return part !== 'src' ? undefined : `'${specifier}' is the package itself. Import it relatively.`;
  }
  const fields = part !== 'src' ? FIELDS : FIELDS.filter((field) => field !== 'devDependencies');
  if (!target) {
    // A package of types only, such as @types/node, is declared under its own name.
    if (fields.some((field) => manifest[field]?.[name] !== undefined)) return undefined;
    return `'${name}' is not declared. Add it to ${part !== 'src' ? 'devDependencies' : 'dependencies'} of packages/${folder}.`;
  }
  if (part !== 'src') {
    if (!testMayImport(map, folder, row, target))
      return `the tests of '${folder}' (layer ${row.layer}) may not import '${name}' (layer ${map.packages[target].layer}). Move the test up, or add testImports to the map.`;
  } else {
    const allowed = allowedFor(row, slashes(relative(home, file)));
    const entry = target + specifier.slice(name.length);
    if (!allowed.includes(target) && !allowed.includes(entry))
      return `'${specifier}' is not allowed here. ${allowedHint(allowed)}`;
  }
  if (fields.some((field) => manifest[field]?.[name] !== undefined)) return undefined;
  return `'${name}' is allowed but not declared. Add it to ${part !== 'src' ? 'devDependencies' : 'dependencies'} of packages/${folder}.`;
}

function badRelative({ folder, row, home }, part, file, specifier) {
  const from = slashes(relative(home, file));
  const to = slashes(relative(home, resolve(file, '..', specifier)));
  if (to === '..' || to.startsWith('../'))
    return `'${specifier}' leaves the package. Import it by its package's name.`;
  if (part !== 'src') return undefined;
  if (!to.startsWith('src/'))
    return `'${specifier}' leaves src of '${folder}'. Move what it needs to src: only that is published.`;
  // A folder with a narrow list must not get the rest by way of a neighbour.
  const allowed = allowedFor(row, from);
  const wider = allowedFor(row, to).filter(
    (entry) => !allowed.includes(entry) && !allowed.includes(entry.split('/')[0]),
  );
  if (wider.length === 0) return undefined;
  return `'${specifier}' may import more than this folder may (${wider.join(', ')}). Move the shared part here.`;
}

function allowedFor(row, path) {
  const folders = Object.entries(row.folders ?? {});
  const match = folders.find(([folder]) => path.startsWith(`${folder}/`));
  return match ? match[1] : row.imports;
}

function allowedHint(allowed) {
  return allowed.length === 0 ? 'It may import no other package.' : `Allowed: ${allowed.join(', ')}.`;
}

function testMayImport(map, folder, row, target) {
  return (
    map.packages[target].layer < row.layer ||
    row.imports.includes(target) ||
    (row.testImports ?? []).includes(target)
  );
}

function* sourceFiles(folder) {
  if (!existsSync(folder)) return;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* sourceFiles(path);
    else if (SOURCE.test(entry.name)) yield path;
  }
}

/** Every way in which a TypeScript file can name a module, types included. */
function importsOf(file) {
  const source = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.Latest, true);
  const found = [];
  const add = (node, specifier) =>
    found.push({
      specifier,
      line: source.getLineAndCharacterOfPosition(node.getStart?.(source) ?? node.pos).line + 1,
    });
  const literal = (node) => (node && ts.isStringLiteralLike(node) ? node.text : undefined);
  for (const reference of source.typeReferenceDirectives) {
    const name = reference.fileName;
    add(reference, name === 'node' ? 'node:process' : name);
  }
  for (const reference of source.referencedFiles)
    add(reference, /^\.{0,2}\//.test(reference.fileName) ? reference.fileName : `./${reference.fileName}`);

  const visit = (node) => {
    if ((ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) && node.moduleSpecifier)
      add(node, literal(node.moduleSpecifier));
    else if (ts.isExternalModuleReference(node)) add(node, literal(node.expression));
    else if (ts.isImportTypeNode(node)) add(node, literal(node.argument.literal));
    else if (ts.isModuleDeclaration(node) && ts.isStringLiteral(node.name)) add(node, node.name.text);
    else if (ts.isCallExpression(node)) {
      const callee = node.expression;
      if (callee.kind === ts.SyntaxKind.ImportKeyword) add(node, literal(node.arguments[0]));
      else if (ts.isIdentifier(callee) && callee.text === 'require' && literal(node.arguments[0]))
        add(node, literal(node.arguments[0]));
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

function* cycles(graph) {
  const done = new Set();
  const path = [];
  function* walk(folder) {
    const at = path.indexOf(folder);
    if (at >= 0) {
      const loop = [...path.slice(at), folder].join(' -> ');
      yield `packages/${folder}/package.json:1: dependency cycle: ${loop}. Move the shared part to a lower layer.`;
      return;
    }
    if (done.has(folder)) return;
    path.push(folder);
    for (const next of graph.get(folder) ?? []) yield* walk(next);
    path.pop();
    done.add(folder);
  }
  for (const folder of graph.keys()) yield* walk(folder);
}

function lineOf(text, field, name) {
  const lines = text.split('\n');
  const start = lines.findIndex((line) => line.includes(`"${field}"`));
  const offset = lines.slice(start).findIndex((line) => line.includes(`"${name}"`));
  return start + offset + 1;
}

function slashes(path) {
  return path.split(sep).join('/');
}
