/** Devices, drivers and buses: match, probe, deferral, unbind; resources and interrupt requests. */
export * from './bus.ts';
export * from './device.ts';
export * from './dma-parameters.ts';
export * from './driver.ts';
export * from './endpoint.ts';
export * from './interrupt-controller.ts';
export * from './reserved-region.ts';
export * from './resource.ts';
export * from './services.ts';
