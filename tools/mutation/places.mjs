import ts from 'typescript';

const { SyntaxKind } = ts;

/** What stands for each operator. `|` to `^` is left out: fields that are put together never overlap. */
const INSTEAD = new Map([
  [SyntaxKind.AmpersandToken, ['|']],
  [SyntaxKind.BarToken, ['&']],
  [SyntaxKind.CaretToken, ['|', '&']],
  [SyntaxKind.LessThanLessThanToken, ['>>>']],
  [SyntaxKind.GreaterThanGreaterThanToken, ['<<', '>>>']],
  [SyntaxKind.GreaterThanGreaterThanGreaterThanToken, ['<<', '>>']],
  [SyntaxKind.AmpersandEqualsToken, ['|=']],
  [SyntaxKind.BarEqualsToken, ['&=']],
  [SyntaxKind.CaretEqualsToken, ['|=', '&=']],
  [SyntaxKind.LessThanLessThanEqualsToken, ['>>>=']],
  [SyntaxKind.GreaterThanGreaterThanEqualsToken, ['<<=', '>>>=']],
  [SyntaxKind.GreaterThanGreaterThanGreaterThanEqualsToken, ['<<=', '>>=']],
]);

export function placesIn(fileName, text) {
  const source = ts.createSourceFile(fileName, text, ts.ScriptTarget.Latest, true);
  const places = [];
  const add = (start, end, after) => {
    const { line, character } = source.getLineAndCharacterOfPosition(start);
    places.push({ start, end, line: line + 1, column: character + 1, before: text.slice(start, end), after });
  };
  const visit = (node) => {
    if (ts.isTypeNode(node)) return;
    if (ts.isBinaryExpression(node)) {
      const token = node.operatorToken;
      for (const after of INSTEAD.get(token.kind) ?? [])
        if (!isSameShift(node, after)) add(token.getStart(source), token.end, after);
    } else if (ts.isPrefixUnaryExpression(node) && node.operator === SyntaxKind.TildeToken) {
      const start = node.getStart(source);
      add(start, start + 1, '');
    } else if (ts.isNumericLiteral(node) || ts.isBigIntLiteral(node)) {
      const start = node.getStart(source);
      for (const after of literalsInstead(node, text.slice(start, node.end))) add(start, node.end, after);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return places.sort((a, b) => a.start - b.start);
}

export function mutated(text, place) {
  return text.slice(0, place.start) + place.after + text.slice(place.end);
}

function literalsInstead(node, literal) {
  const { parent, child } = outOfWrapping(node);
  if ((ts.isPropertyAssignment(parent) || ts.isEnumMember(parent)) && parent.name === child) return [];
  const kind = ts.isBinaryExpression(parent) ? parent.operatorToken.kind : undefined;
  const isOfBits = INSTEAD.has(kind);
  const value = valueOf(literal);
  if (isOfBits && isShift(kind) && parent.right === child) {
    // `>>> 0` makes a number unsigned; its operator is mutated, that is enough.
    return value === 0n ? [] : [value - 1n, value + 1n].map((count) => written(count, literal));
  }
  const isComplement = ts.isPrefixUnaryExpression(parent) && parent.operator === SyntaxKind.TildeToken;
  if (!isOfBits && !isComplement && !/^0[xbo]/i.test(literal))
    return /^[\d_]+n?$/.test(literal) ? [written(value + 1n, literal)] : [];
  // Operators on numbers look at 32 bits.
  const counts = (isOfBits || isComplement) && !literal.endsWith('n') ? 0xffffffffn : -1n;
  return bitsAway(value)
    .filter((other) => (other & counts) !== (value & counts))
    .map((other) => written(other, literal));
}

/** `value` without its highest bit, without its lowest, with one more above, with one more below. */
function bitsAway(value) {
  if (value === 0n) return [1n];
  const highest = 1n << BigInt(value.toString(2).length - 1);
  const lowest = value & -value;
  return [
    ...new Set([value ^ highest, value ^ lowest, value | (highest << 1n), value | (lowest >> 1n)]),
  ].filter((other) => other !== value);
}

/**
 * (x >>> n) & mask is (x >> n) & mask where the mask keeps no bit of the sign; and x << 0 is x >> 0. If n is no literal,
 * the field is taken to end inside the word.
 */
function isSameShift(node, after) {
  const count = plainValue(node.right);
  if (after.startsWith('<<')) return count === 0n;
  if (node.operatorToken.kind === SyntaxKind.LessThanLessThanToken) return false;
  const { parent, child } = outOfWrapping(node);
  if (!ts.isBinaryExpression(parent) || parent.operatorToken.kind !== SyntaxKind.AmpersandToken) return false;
  const mask = plainValue(parent.left === child ? parent.right : parent.left);
  return mask !== undefined && mask < 1n << (32n - ((count ?? 1n) & 31n));
}

/** The next parent that does something, past parentheses and type assertions. */
function outOfWrapping(node) {
  let child = node;
  while (ts.isParenthesizedExpression(child.parent) || ts.isAsExpression(child.parent)) child = child.parent;
  return { parent: child.parent, child };
}

function plainValue(node) {
  return ts.isNumericLiteral(node) ? valueOf(node.getText()) : undefined;
}

function isShift(kind) {
  return (
    (kind >= SyntaxKind.LessThanLessThanToken && kind <= SyntaxKind.GreaterThanGreaterThanGreaterThanToken) ||
    (kind >= SyntaxKind.LessThanLessThanEqualsToken &&
      kind <= SyntaxKind.GreaterThanGreaterThanGreaterThanEqualsToken)
  );
}

function valueOf(literal) {
  const digits = literal.replaceAll('_', '').replace(/n$/, '');
  return /^(0[xbo][\da-f]+|\d+)$/i.test(digits) ? BigInt(digits) : BigInt(Math.trunc(Number(digits)));
}

/** In the base and with at least the digits of `like`. */
function written(value, like) {
  const [, prefix = '', digits, suffix = ''] = /^(0[xbo])?(.*?)(n)?$/i.exec(like.replaceAll('_', ''));
  const base = { x: 16, o: 8, b: 2 }[prefix.at(1)?.toLowerCase()] ?? 10;
  const text = value.toString(base).padStart(base === 10 ? 1 : digits.length, '0');
  return prefix + text + suffix;
}
