import ts from 'typescript';

export function withoutAssertions(fileName, text) {
  const source = ts.createSourceFile(fileName, text, ts.ScriptTarget.Latest, true);
  let erased = text;
  const visit = (node) => {
    if (ts.isAsExpression(node) || ts.isSatisfiesExpression(node)) {
      const { end } = node.expression;
      const blank = text.slice(end, node.end).replaceAll(/[^\n]/g, ' ');
      erased = erased.slice(0, end) + blank + erased.slice(node.end);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return erased;
}
