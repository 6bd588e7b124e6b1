/** The machine a number belongs to. */
import { cpus } from 'node:os';

/** Whatever changes the numbers. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly node: string;
  /** undefined without a C compiler. */
  readonly compiler: string | undefined;
}

/** The one this runs on. */
export function thisMachine(compiler: string | undefined): Machine {
  const cores = cpus();
  return {
    cpu: cores[0]?.model.trim() ?? 'unknown',
    cores: cores.length,
    node: `${process.version} (V8 ${process.versions.v8})`,
    compiler,
  };
}
