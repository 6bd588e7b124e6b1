/** How long the three drivers are: lines that are neither empty nor comment. A test counts them. */
export const DRIVER_LINES: Readonly<Record<DriverFile, number>> = {
  'process-space-driver.ts': 14,
  'bus-space-driver.ts': 39,
  'copying-driver.ts': 64,
};

/** The files that are compared, beside this one. */
export type DriverFile = 'process-space-driver.ts' | 'bus-space-driver.ts' | 'copying-driver.ts';
