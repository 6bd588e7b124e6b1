/** The kit passes backends that are right, whatever they can and cannot do. */
import { describeIommuBackend } from '../src/index.ts';
import { createOracleFixture, POOR, RICH } from './oracle-fixture.ts';

describeIommuBackend({ name: 'oracle that can do everything', create: () => createOracleFixture(RICH) });
describeIommuBackend({ name: 'oracle that can do next to nothing', create: () => createOracleFixture(POOR) });
describeIommuBackend({
  name: 'oracle that blocks by default',
  create: () => createOracleFixture(RICH, undefined, 'blocked'),
  random: { runs: 5 },
});
