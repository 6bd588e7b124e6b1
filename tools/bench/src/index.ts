/** What a bench file imports: one function, and the types of what it takes. */
export { benchCase, type BenchCase, type FloorCase, type PreparedCase, type Target } from './bench-case.ts';
export { Draws } from './draws.ts';
