/**
 * The same bars as a picture. Own, since what charting libraries there are want a DOM or a canvas, or bring a hundred times this: a
 * stacked bar is a row of rectangles.
 */
import { type BarChart, sumOf } from './bar-chart.ts';

/** Okabe and Ito's colours, which people who see no red or no green tell apart. */
const COLOURS = ['#999999', '#0072b2', '#d55e00', '#e69f00', '#009e73', '#cc79a7'];
const WIDTH = 820;
const MARGIN = 20;
const LEFT = 100;
const RIGHT = 90;
const BAR_HEIGHT = 34;
const BAR_STEP = 50;
const TOP = 84;
const AXIS_HEIGHT = 44;
/** About so many numbers on the axis. */
const TICKS = 6;
/** An SVG document. */
export function renderBarsSvg(chart: BarChart): string {
  const { title, bars } = chart;
  const plotWidth = WIDTH - LEFT - RIGHT;
  const bottom = TOP + bars.length * BAR_STEP;
  const largest = Math.max(...bars.map(({ values }) => sumOf(values)), 1);
  const x = (value: number): number => LEFT + (value / largest) * plotWidth;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${bottom + AXIS_HEIGHT}" font-family="sans-serif" font-size="14" fill="#222222">`,
    '<rect width="100%" height="100%" fill="#ffffff"/>',
    `<text x="${MARGIN}" y="28" font-size="17" font-weight="bold">${escape(title)}</text>`,
    ...keyOf(chart.parts),
    ...axis(largest, x, bottom),
    ...bars.flatMap((bar, i) => barAt(bar, chart.parts, x, TOP + i * BAR_STEP)),
    '</svg>',
    '',
  ].join('\n');
}

function barAt(
  { label, values }: BarChart['bars'][number],
  parts: readonly string[],
  x: (value: number) => number,
  top: number,
): readonly string[] {
  const middle = top + BAR_HEIGHT / 2 + 5;
  let sum = 0;
  const pieces = values.map((value, i) => {
    const start = x(sum);
    sum += value;
    const name = escape(`${label}: ${parts[i]} ${value.toFixed(0)}`);
    return `<rect x="${pixels(start)}" y="${top}" width="${pixels(x(sum) - start)}" height="${BAR_HEIGHT}" fill="${COLOURS[i]}"><title>${name}</title></rect>`;
  });
  return [
    `<text x="${LEFT - 10}" y="${middle}" text-anchor="end">${escape(label)}</text>`,
    ...pieces,
    `<text x="${pixels(x(sum) + 8)}" y="${middle}">${sum.toFixed(0)}</text>`,
  ];
}

/** Columns of one width: how wide a word is depends on whose font it is set in. */
function keyOf(parts: readonly string[]): readonly string[] {
  const column = (WIDTH - 2 * MARGIN) / parts.length;
  return parts.flatMap((part, i) => {
    const left = MARGIN + i * column;
    return [
      `<rect x="${pixels(left)}" y="46" width="14" height="14" fill="${COLOURS[i]}"/>`,
      `<text x="${pixels(left + 20)}" y="58">${escape(part)}</text>`,
    ];
  });
}

/** A line and a number at each round value. */
function axis(largest: number, x: (value: number) => number, bottom: number): readonly string[] {
  const step = roundStep(largest / TICKS);
  const lines: string[] = [];
  for (let value = 0; value <= largest; value += step) {
    const at = pixels(x(value));
    lines.push(
      `<line x1="${at}" y1="${TOP - 8}" x2="${at}" y2="${bottom}" stroke="#dddddd"/>`,
      `<text x="${at}" y="${bottom + 20}" text-anchor="middle" font-size="12">${value}</text>`,
    );
  }
  return lines;
}

/** 1, 2 or 5 times a power of ten, at least 1. */
function roundStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(least, 1)));
  return ([1, 2, 5].find((factor) => factor * power >= least) ?? 10) * power;
}

function pixels(value: number): string {
  return value.toFixed(1);
}

function escape(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
}
