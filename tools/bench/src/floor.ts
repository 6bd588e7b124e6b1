/** The native yardstick: C programs of `floor/`, compiled when they are needed. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { FloorCase } from './bench-case.ts';

/** What a program of `floor/` prints. */
export interface FloorResult {
  /** Nanoseconds per operation. */
  readonly ns: number;
  readonly checksum: number;
  /** What one run counts; every other field. */
  readonly counts: Readonly<Record<string, number>>;
}

/** A C compiler, and what it makes. */
export class Floor {
  /** First line of the compiler's own version. */
  readonly compiler: string;
  readonly #sources: string;
  readonly #folder: string;
  readonly #compiled = new Map<string, string>();

  private constructor(compiler: string, sources: string, folder: string) {
    this.compiler = compiler;
    this.#sources = sources;
    this.#folder = folder;
  }

  /**
   * @param sources folder of the programs
   * @param folder where compiled ones go
   * @returns undefined if there is no `cc`
   */
  static find(sources: string, folder: string): Floor | undefined {
    try {
      const version = execFileSync('cc', ['--version'], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      return new Floor(version.split('\n')[0] as string, sources, folder);
    } catch {
      return undefined;
    }
  }

  /** @throws Error if the program does not compile, or fails */
  run({ program, args }: FloorCase, milliseconds: number): FloorResult {
    const output = execFileSync(this.#compile(program), [...args, String(milliseconds)], {
      encoding: 'utf8',
    });
    const { ns, checksum, ...counts } = JSON.parse(output) as Record<string, number>;
    return { ns: ns as number, checksum: checksum as number, counts };
  }

  #compile(program: string): string {
    const known = this.#compiled.get(program);
    if (known !== undefined) return known;
    const source = join(this.#sources, `${program}.c`);
    if (!existsSync(source)) throw new Error(`there is no ${source}`);
    const file = join(this.#folder, program);
    execFileSync('cc', ['-O2', '-o', file, source], { stdio: ['ignore', 'inherit', 'inherit'] });
    this.#compiled.set(program, file);
    return file;
  }
}
