import { createRequire } from 'node:module';

const ts = createRequire(new URL('../../../tools/mutation/places.mjs', import.meta.url))('typescript');

/** Statements that can be left out (calls, assignments, throws, early returns), and conditions that can be turned round. */
export function statementsIn(fileName, text) {
  const source = ts.createSourceFile(fileName, text, ts.ScriptTarget.Latest, true);
  const places = [];
  const add = (node, after) => {
    const start = node.getStart(source);
    const { line, character } = source.getLineAndCharacterOfPosition(start);
    // For people only: one line of it.
    const before = text.slice(start, node.end).replace(/\s+/g, ' ').slice(0, 80);
    places.push({ start, end: node.end, line: line + 1, column: character + 1, before, after });
  };
  const visit = (node) => {
    const isConstructors =
      ts.isExpressionStatement(node) && node.expression.getText(source).startsWith('super');
    if ((ts.isExpressionStatement(node) && !isConstructors) || ts.isThrowStatement(node)) add(node, ';');
    else if (ts.isReturnStatement(node) && node.expression === undefined) add(node, ';');
    if (ts.isIfStatement(node)) add(node.expression, `!(${node.expression.getText(source)})`);
    else if (ts.isConditionalExpression(node)) add(node.condition, `!(${node.condition.getText(source)})`);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return places;
}
