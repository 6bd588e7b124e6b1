#!/usr/bin/env node
// Exists before the build does: a package manager links a bin at install time.
import { main } from '../dist/main.js';

// Whoever reads the output may have seen enough (`| head`); what there is to write has been written.
process.stdout.on('error', (error) => {
  if (error.code !== 'EPIPE') throw error;
});
process.exitCode = await main(process.argv.slice(2));
