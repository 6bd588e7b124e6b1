/** Horizontal stacked bars as text: a row of blocks for each, a kind of block for each part. */

/** What is drawn. */
export interface BarChart {
  readonly title: string;
  /** Parts of every bar, in order; six at most. */
  readonly parts: readonly string[];
  readonly bars: readonly { readonly label: string; readonly values: readonly number[] }[];
}

/** Told apart without colour, in any font that has blocks. */
const BLOCKS = ['█', '▓', '▒', '░', ':', '.'];

/** The chart in lines of at most `columns`, each ended by a line feed, with a key below. */
export function renderBars({ title, parts, bars }: BarChart, columns: number): string {
  const labelWidth = Math.max(...bars.map(({ label }) => label.length));
  const totals = bars.map(({ values }) => sumOf(values));
  const numberWidth = Math.max(...totals.map((total) => total.toFixed(0).length));
  const largest = Math.max(...totals);
  const scale = largest === 0 ? 0 : (columns - labelWidth - numberWidth - 4) / largest;
  const rows = bars.map(({ label, values }, i) => {
    const total = (totals[i] as number).toFixed(0).padStart(numberWidth);
    return `${label.padEnd(labelWidth)}  ${total}  ${blocksOf(values, scale)}`;
  });
  const key = parts.map((part, i) => `${BLOCKS[i]} ${part}`).join('  ');
  return [title, ...rows, key, ''].join('\n');
}

/** Each part ends where the sum up to it does, so that a bar is as long as its total whatever is rounded. */
function blocksOf(values: readonly number[], scale: number): string {
  let sum = 0;
  let drawn = 0;
  return values
    .map((value, i) => {
      sum += value;
      const end = Math.round(sum * scale);
      const blocks = (BLOCKS[i] as string).repeat(end - drawn);
      drawn = end;
      return blocks;
    })
    .join('');
}

/** All values together. */
export function sumOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}
