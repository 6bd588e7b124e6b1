/** Tables of text, padded so that they read well as they are; Markdown as Prettier lays it out. */

/** A column: its heading, and on which side its cells stand. */
export interface Column {
  readonly heading: string;
  readonly align: 'left' | 'right';
}

/** Lines of a table for a terminal. */
export function plainTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string[] {
  const widths = widthsOf(columns, rows);
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => pad(cell, widths[i] as number, columns[i] as Column))
      .join('  ')
      .trimEnd();
  return [line(columns.map(({ heading }) => heading)), ...rows.map(line)];
}

/** Lines of a Markdown table. */
export function markdownTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string[] {
  const escaped = rows.map((cells) => cells.map((cell) => cell.replaceAll('|', '\\|')));
  const widths = widthsOf(columns, escaped).map((width) => Math.max(width, 3));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, i) => pad(cell, widths[i] as number, columns[i] as Column)).join(' | ')} |`;
  const rule = columns.map(({ align }, i) => {
    const dashes = '-'.repeat(widths[i] as number);
    return align === 'left' ? dashes : `${dashes.slice(1)}:`;
  });
  return [line(columns.map(({ heading }) => heading)), `| ${rule.join(' | ')} |`, ...escaped.map(line)];
}

function widthsOf(columns: readonly Column[], rows: readonly (readonly string[])[]): number[] {
  return columns.map(({ heading }, i) =>
    Math.max(heading.length, ...rows.map((cells) => (cells[i] as string).length)),
  );
}

function pad(cell: string, width: number, { align }: Column): string {
  return align === 'left' ? cell.padEnd(width) : cell.padStart(width);
}
