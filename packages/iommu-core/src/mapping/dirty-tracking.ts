/** Which pages of a domain were written (the kernel's struct iommu_dirty_ops): asked of the table, when the hardware can. */
import { assert, LabError } from '@iommu-lab/machine';
import type { IommuCapabilities } from '../capabilities.ts';
import type { PagingTable } from '../driver-port.ts';
import { Gather } from './gather.ts';
import { checkIovaRange } from './mapping-rules.ts';

/** A page that was written. */
export interface DirtyPage {
  readonly iova: number;
  readonly sizeBytes: number;
}

type DirtyTable = Required<Pick<PagingTable, 'setDirtyTracking' | 'visitDirty'>> & Pick<PagingTable, 'sync'>;

/** The tracking of one paging domain. */
export class DirtyTracking {
  readonly #domain: { readonly name: string; readonly capabilities: IommuCapabilities };
  #isOn = false;

  constructor(domain: { readonly name: string; readonly capabilities: IommuCapabilities }) {
    this.#domain = domain;
  }

  /** `IommuDomain.setDirtyTracking`. */
  set(paging: PagingTable, isOn: boolean): void {
    const table = this.#checked(paging);
    if (isOn === this.#isOn) return;
    table.setDirtyTracking(isOn);
    this.#isOn = isOn;
    if (isOn) this.read(paging, 0, 0, true);
  }

  /** `IommuDomain.readDirty`. */
  read(paging: PagingTable, iova: number, sizeBytes: number, clear: boolean): readonly DirtyPage[] {
    const table = this.#checked(paging);
    const { name, capabilities } = this.#domain;
    if (!this.#isOn) throw new LabError('EINVAL', `domain ${name} does not track what is written`);
    if (sizeBytes !== 0) checkIovaRange(capabilities, iova, sizeBytes);
    const { start, last } = capabilities.aperture;
    const [from, length] = sizeBytes === 0 ? [start, last + 1 - start] : [iova, sizeBytes];
    const pages: DirtyPage[] = [];
    const gather = new Gather();
    table.visitDirty(from, length, clear, gather, (at, pageSize) => {
      pages.push({ iova: at, sizeBytes: pageSize });
    });
    if (!gather.isEmpty) table.sync(gather);
    return pages;
  }

  #checked(table: PagingTable): DirtyTable {
    const { name, capabilities } = this.#domain;
    if (!capabilities.dirtyTracking) {
      throw new LabError('EOPNOTSUPP', `the hardware of ${name} does not note what is written`);
    }
    assert(
      table.setDirtyTracking !== undefined && table.visitDirty !== undefined,
      'a backend that tracks what is written has both operations for it',
    );
    return table as DirtyTable;
  }
}
