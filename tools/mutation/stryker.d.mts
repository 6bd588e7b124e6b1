/**
 * Options of Stryker for a package of this workspace.
 * @param mutate files, relative to the package
 */
export function strykerOptions(mutate: readonly string[]): Record<string, unknown>;
