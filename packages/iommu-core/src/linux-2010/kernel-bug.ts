/** What the kernel's BUG() is: no number that the caller could look at; the machine stops here. */

/** The caller broke a rule that the kernel of 2010 answered with a crash. Nothing was changed. */
export class KernelBug extends Error {
  override readonly name = 'KernelBug';
}

/** Stops when `condition` holds. @throws KernelBug */
export function BUG_ON(condition: boolean, message: string): void {
  if (condition) throw new KernelBug(`kernel BUG: ${message}`);
}
