// A plugin of Stryker: its runner for Jest, one test file at a time.
import { strykerPlugins as ofStryker, strykerValidationSchema } from '@stryker-mutator/jest-runner';
import { RunnerByFile } from './runner-by-file.mjs';

export { strykerValidationSchema };

const [jest] = ofStryker;
const factory = (injector) => new RunnerByFile(jest.factory(injector));
factory.inject = jest.factory.inject;

export const strykerPlugins = [{ ...jest, name: 'jest-by-file', factory }];
