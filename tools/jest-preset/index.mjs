import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);

export default {
  testEnvironment: 'node',
  // Siblings are read from their sources, so that no build is needed before a test.
  testEnvironmentOptions: { customExportConditions: ['@iommu-lab/source', 'node', 'node-addons'] },
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  extensionsToTreatAsEsm: ['.ts'],
  moduleFileExtensions: ['ts', 'mjs', 'js', 'cjs', 'json', 'node'],
  transform: {
    '\\.ts$': [
      require.resolve('@swc/jest'),
      {
        jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
        module: { type: 'es6' },
        sourceMaps: 'inline',
      },
    ],
  },
  reporters: ['default', fileURLToPath(new URL('./counts-reporter.mjs', import.meta.url))],
  coverageProvider: 'babel', // v8 reports one-line functions that never ran as covered
};
