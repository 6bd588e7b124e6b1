/** A NIC in a small setting, with its system at hand. */
import {
  createSystem,
  MSM8X60,
  type NicMode,
  type NicRun,
  type NicSettings,
  playNic,
  type System,
} from '../../src/index.ts';

export const SETTINGS: NicSettings = {
  seed: 1,
  packets: 60,
  packetBytes: 1500,
  packetNs: 12_000,
  ringEntries: 8,
  coherent: false,
  warmUpPackets: 10,
};

/** Little memory, which is made quickly. */
const SOC = { ...MSM8X60, ram: [{ base: 0x40200000, sizeBytes: 0x800000 }] };

export interface Played {
  readonly run: NicRun;
  readonly system: System;
}

/** @param prepare may tamper with the system before the NIC is there */
export function play(
  mode: NicMode,
  settings: Partial<NicSettings> = {},
  prepare: (system: System) => void = () => undefined,
): Played {
  const systems: System[] = [];
  const run = playNic(mode, { ...SETTINGS, ...settings }, (dma) => {
    const system = createSystem({
      board: SOC,
      seed: settings.seed ?? SETTINGS.seed,
      dma: { ...dma, debug: true },
    });
    prepare(system);
    systems.push(system);
    return system;
  });
  return { run, system: systems[0] as System };
}
