/** Nouns of any machine: addresses, memory, cache, registers, wires, bus masters, and the world they live in. */
export * from './address.ts';
export * from './bus.ts';
export * from './bus-master.ts';
export * from './clock.ts';
export * from './cpu-cache.ts';
export * from './errors.ts';
export * from './events.ts';
export * from './failpoints.ts';
export * from './interposer.ts';
export * from './interrupt-line.ts';
export * from './memory.ts';
export * from './mmio.ts';
export * from './random.ts';
export * from './register.ts';
export * from './register-file.ts';
export * from './world.ts';
