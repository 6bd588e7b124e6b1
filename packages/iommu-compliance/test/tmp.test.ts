import { test } from '@jest/globals';
import { READ_WRITE } from '@iommu-lab/iommu-core';
import { createOracleFixture, RICH } from './oracle-fixture.ts';
test('x', () => {
  const f = createOracleFixture(RICH);
  f.iommu.configure(f.devices[0]);
  const d = f.iommu.allocPagingDomain(f.devices[0]);
  const out: string[] = [];
  for (const [iova, pa, size] of [[0x101000, 0x50001000, 0x10000],[0x100000,0x50000000,0x10000],[0x108000,0x50008000,0x10000],[0x10f000,0x5000f000,0x10000],[0x101000,0x50001000,0x100000]] as const) {
    d.map(iova, pa, size, READ_WRITE);
    let s = `${iova.toString(16)}: `;
    try { for (let at = iova; at < iova + size;) { const r = d.unmap(at, 0x1000); s += `${r.toString(16)} `; at += r; } } catch (e) { s += String(e); }
    out.push(s);
    d.unmap(iova, size); try { d.unmap(0x110000,0x1000);} catch {}
    if (d.mappings().length) {out.push(JSON.stringify(d.mappings())); break; }
  }
  console.log(out.join('\n'));
});
