/** The command line. */
import { parseArgs } from 'node:util';

/** What is asked for. */
export interface Options {
  /** Only cases whose name contains one of these, in any case of letters; all if there is none. */
  readonly only: readonly string[];
  readonly processes: number;
  /** How long one process measures one case. */
  readonly milliseconds: number;
  readonly usesFloor: boolean;
  readonly list: boolean;
  readonly help: boolean;
  readonly markdown: string | undefined;
  readonly json: string | undefined;
}

export const USAGE = `lab-bench [--only TEXT]... [--processes N] [--milliseconds N] [--quick] [--no-floor] [--list] [--markdown FILE] [--json FILE]

Measures the cases of bench/*.bench.ts of the package it is started in.

  --only TEXT      cases whose name contains TEXT
  --processes N    processes by case (5; 3 with --quick)
  --milliseconds N how long a process measures a case, in time on a core (400; 150 with --quick)
  --quick          a rough number, soon
  --no-floor       without the C program
  --list           names only
  --markdown FILE  writes the report as Markdown as well
  --json FILE      writes every number as JSON as well
`;

/** @throws Error on what is no option, or no number */
export function parseOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: args.filter((arg) => arg !== '--'), // pnpm hands it on
    options: {
      only: { type: 'string', multiple: true, default: [] },
      processes: { type: 'string' },
      milliseconds: { type: 'string' },
      quick: { type: 'boolean', default: false },
      'no-floor': { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
      markdown: { type: 'string' },
      json: { type: 'string' },
    },
  });
  return {
    only: values.only,
    processes: positive('processes', values.processes, values.quick ? 3 : 5),
    milliseconds: positive('milliseconds', values.milliseconds, values.quick ? 150 : 400),
    usesFloor: !values['no-floor'],
    list: values.list,
    help: values.help,
    markdown: values.markdown,
    json: values.json,
  };
}

function positive(name: string, text: string | undefined, unlessGiven: number): number {
  const value = text === undefined ? unlessGiven : Number(text);
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} wants a whole number from 1 on`);
  return value;
}
