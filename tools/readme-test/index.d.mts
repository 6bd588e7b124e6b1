/**
 * Runs the examples of the README one folder above a test file: every `ts` block is imported as a module of its own,
 * and what it prints must equal the `text` block that follows it.
 *
 * @param testUrl the test's `import.meta.url`
 * @returns what each block printed
 * @throws Error when there is no `ts` block, a block without a `text` block after it, or other output than it says
 */
export function runReadme(testUrl: string): Promise<readonly string[]>;
