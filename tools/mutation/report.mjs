export function mutantLine({ number, file, line, column, before, after, code, status, by }) {
  const verdict = status === undefined ? '' : `${status.padEnd(9)} `;
  const change = `${before} -> ${after === '' ? '(nothing)' : after}`;
  const killer = by === undefined ? '' : `  [${by}]`;
  return `${verdict}#${number} ${file}:${line}:${column}  ${change}${killer}  ${code}`;
}

export function scoreTable(results) {
  const files = [...new Set(results.map(({ file }) => file))];
  const rows = files.map((file) =>
    row(
      file,
      results.filter((result) => result.file === file),
    ),
  );
  if (files.length > 1) rows.push(row('all', results));
  return [
    '| File | Mutants | Killed | Timed out | Survived | Score |',
    '| --- | --- | --- | --- | --- | --- |',
    ...rows,
  ].join('\n');
}

function row(name, results) {
  const count = (status) => results.filter((result) => result.status === status).length;
  const found = count('killed') + count('timed out');
  const score = results.length === 0 ? '' : `${((100 * found) / results.length).toFixed(1)} %`;
  return `| ${name} | ${results.length} | ${count('killed')} | ${count('timed out')} | ${count('survived')} | ${score} |`;
}
