/** Device assignment to a virtual machine: memory slots, one I/O address space, trapped registers, wired interrupts. */
export * from './guest.ts';
export * from './guest-cache-maintenance.ts';
export type { GuestKernel } from './guest-kernel.ts';
export * from './guest-memory.ts';
export * from './guest-mmio.ts';
export * from './memory-slots.ts';
