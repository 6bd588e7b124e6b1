/** Masks of devices in a guest: its kernel knows where the guest's RAM begins and ends, not the host's. */
import { expect, test } from '@jest/globals';
import { getDmaOps } from '@iommu-lab/dma-mapping';
import { CopierDriver } from './copier.ts';
import { makeGuest, makeHost, MIB, withCode } from './host.ts';

const GUEST_RAM = 0x4000_0000;

test('a mask that reaches none of the guest’s RAM is EIO and the old one stays; one that reaches all of it is enough', () => {
  const host = makeHost();
  const guest = makeGuest(host);
  const device = guest.assign(host.bus.device('a0'));
  guest.kernel.bus.bind(device, new CopierDriver());
  const ops = getDmaOps(device);
  const before = [device.dmaMask, device.coherentDmaMask];
  for (const mask of [0xffff, GUEST_RAM - 1]) expect(() => ops.setMask(mask)).toThrow(withCode('EIO'));
  expect([device.dmaMask, device.coherentDmaMask]).toEqual(before);
  expect(ops.requiredMask).toBe(2 * GUEST_RAM - 1);
  ops.setMask(2 * GUEST_RAM - 1);
  expect(ops.isAddressingLimited).toBe(false);
  const buffer = ops.allocCoherent(4096);
  expect(buffer.dmaAddress).toBeGreaterThanOrEqual(GUEST_RAM);
  expect(buffer.dmaAddress).toBeLessThan(GUEST_RAM + MIB);
  ops.freeCoherent(buffer);
});
