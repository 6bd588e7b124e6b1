/** The JSON Schemas that are published beside the command line, made from what the program itself checks with. */
import { ReportSchema, ScenarioSchema } from '@iommu-lab/board';
import * as z from 'zod';

/** File name to content. */
export function schemaFiles(): Readonly<Record<string, string>> {
  return {
    'report.schema.json': text(z.toJSONSchema(ReportSchema)),
    // What a person writes, before defaults are filled in.
    'scenario.schema.json': text(z.toJSONSchema(ScenarioSchema, { io: 'input' })),
  };
}

function text(schema: unknown): string {
  return `${JSON.stringify(schema, undefined, 2)}\n`;
}
