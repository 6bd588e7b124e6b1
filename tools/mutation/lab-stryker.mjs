#!/usr/bin/env node
// Stryker's own command line, for packages that do not depend on Stryker themselves.
import { StrykerCli } from '@stryker-mutator/core';

new StrykerCli(process.argv).run();
