/**
 * The table format: one level, one 32-bit entry for each 16 KiB page of the window. The hardware decodes what the driver
 * encodes; both take the layout from here and share nothing else.
 */

/** The only page size, in bytes. */
export const PAGE_BYTES = 0x4000;
/** First IOVA of the window that the table covers. */
export const FIRST_IOVA = 0x1000_0000;
/** Last IOVA of it. */
export const LAST_IOVA = 0x1fff_ffff;
/** Entries of a table. */
export const ENTRY_COUNT: number = (LAST_IOVA - FIRST_IOVA + 1) / PAGE_BYTES;
/** Length of a table, and its alignment. */
export const TABLE_BYTES: number = ENTRY_COUNT * 4;

/** Entry bit: the device may read the page. */
export const ENTRY_READ = 1;
/** Entry bit: the device may write it. An entry with neither bit is not valid. */
export const ENTRY_WRITE = 2;
/** Entry bit: the page has been written. Set by the hardware where its TABLE register says so; cleared by software. */
export const ENTRY_DIRTY = 4;

/** The entry that leads to the page at `address` (a multiple of 16 KiB below 4 GiB). */
export function encodeEntry(
  address: number,
  rights: { readonly read: boolean; readonly write: boolean },
): number {
  return (address | (rights.read ? ENTRY_READ : 0) | (rights.write ? ENTRY_WRITE : 0)) >>> 0;
}

/** Physical address of the page an entry leads to. */
export function pageAddress(entry: number): number {
  return entry - (entry % PAGE_BYTES);
}

/** Whether the entry leads anywhere. */
export function isValidEntry(entry: number): boolean {
  return (entry & (ENTRY_READ | ENTRY_WRITE)) !== 0;
}

/** Whether a write through the entry is allowed and would be the first one that is noted. */
export function isCleanAndWritable(entry: number): boolean {
  return (entry & (ENTRY_WRITE | ENTRY_DIRTY)) === ENTRY_WRITE;
}

/** Position of the entry for `iova`, or undefined outside the window. */
export function entryIndex(iova: number): number | undefined {
  return iova >= FIRST_IOVA && iova <= LAST_IOVA ? Math.floor((iova - FIRST_IOVA) / PAGE_BYTES) : undefined;
}
