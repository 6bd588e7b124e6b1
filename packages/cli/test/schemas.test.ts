import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { schemaFiles } from '../src/schemas.ts';

test.each(Object.entries(schemaFiles()))(
  '%s is current (pnpm --filter iommu-lab schemas)',
  (name, content) => {
    expect(readFileSync(new URL(`../${name}`, import.meta.url), 'utf8')).toBe(content);
  },
);

test('every setting of every step is documented', () => {
  const docs = readFileSync(new URL('../docs/scenarios.md', import.meta.url), 'utf8');
  const schema = JSON.parse(schemaFiles()['scenario.schema.json'] ?? '') as {
    properties: { steps: { items: { oneOf: { properties: Record<string, { const?: string }> }[] } } };
  };
  const steps = schema.properties.steps.items.oneOf;
  expect(steps).toHaveLength(7);
  for (const { properties } of steps) {
    const section = docs.split(`## \`do: ${properties['do']?.const}\``)[1]?.split('\n## ')[0] ?? '';
    const settings = Object.keys(properties).filter((name) => name !== 'do');
    expect(settings.filter((name) => !section.includes(`\`${name}\``))).toEqual([]);
  }
});
