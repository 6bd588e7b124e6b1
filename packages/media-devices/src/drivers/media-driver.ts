/** The frame of every media driver: match, probe, publish an object on the device, and take it away again. */
import { type Device, DMA_MASK_32, type Driver, slot, type Slot } from '@iommu-lab/driver-core';
import { type DmaOps, getDmaOps } from '@iommu-lab/dma-mapping';
import { Engine } from './engine.ts';

interface MediaDriverOptions<T> {
  readonly name: string;
  readonly compatible: string;
  /** Where the public object goes. */
  readonly slot: Slot<T>;
  /** Makes the public object. Must leave nothing behind when it throws. */
  readonly create: (engine: Engine, dma: DmaOps) => T;
}

/** A driver for a device that maps buffers by itself. */
export function mediaDriver<T>(options: MediaDriverOptions<T>): Driver {
  return driverOf(
    options,
    (device, engine) => options.create(engine, getDmaOps(device)),
    (device) => getDmaOps(device).setMask(DMA_MASK_32),
  );
}

/** A driver for a device whose callers own the mappings. */
export function unmappedMediaDriver<T>(
  options: Omit<MediaDriverOptions<T>, 'create'> & { readonly create: (engine: Engine) => T },
): Driver {
  return driverOf(
    options,
    (_device, engine) => options.create(engine),
    () => undefined,
  );
}

/** The driver's own half, beside the public object. */
const ENGINE: Slot<Engine> = slot('media engine');

function driverOf<T>(
  options: Omit<MediaDriverOptions<T>, 'create'>,
  create: (device: Device, engine: Engine) => T,
  prepare: (device: Device) => void,
): Driver {
  return {
    name: options.name,
    matches: (device) => device.compatible === options.compatible,
    probe(device) {
      // The engines count bytes in 32 bits and cross any boundary: what the IOMMU gathers they take in one piece.
      device.dmaParameters = { ...device.dmaParameters, maxSegmentBytes: DMA_MASK_32 };
      prepare(device);
      const engine = new Engine(device);
      try {
        device.set(options.slot, create(device, engine));
      } catch (error) {
        engine.shutdown();
        throw error;
      }
      device.set(ENGINE, engine);
    },
    remove(device) {
      const engine = device.get(ENGINE);
      device.clear(ENGINE);
      device.clear(options.slot);
      engine?.shutdown();
    },
  };
}
