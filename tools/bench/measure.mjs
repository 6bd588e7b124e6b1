// A measuring process: MODULE (a bundled bench file) and its order as JSON. Its result goes to standard output.
import { pathToFileURL } from 'node:url';

const [module, order] = process.argv.slice(2);
const { cases, measure } = await import(pathToFileURL(module).href);
process.stdout.write(`${JSON.stringify(await measure(cases, JSON.parse(order)))}\n`);
