/** Text tables: columns as wide as their widest cell, two spaces between, nothing drawn. */

/** How a table is set. */
export interface TableOptions {
  /** Columns set flush right. */
  readonly right?: readonly number[];
}

/** Every row on a line of its own, ended by a line feed. */
export function textTable(rows: readonly (readonly string[])[], options: TableOptions = {}): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  );
  return rows
    .map((row) => {
      const cells = widths.map((width, column) => {
        const cell = row[column] ?? '';
        return options.right?.includes(column) ? cell.padStart(width) : cell.padEnd(width);
      });
      return `${cells.join('  ').trimEnd()}\n`;
    })
    .join('');
}
