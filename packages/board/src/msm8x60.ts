/**
 * The Qualcomm MSM8x60 as data: its twelve System MMUs with banks, machine ids, interrupts and clocks.
 *
 * Facts: Linux arch/arm/mach-msm/devices-msm8x60-iommu.c (2010) and the vendor tree's devices-iommu.c, whose later
 * graphics contexts and twelfth instance (gfx2d1) are used; interrupt numbers are GIC numbers, 32 + SPI.
 * Ours: the masters' register windows hold this project's models, not Qualcomm's register maps, and the interrupts of
 * masters other than the display are chosen free ones. RAM is the first 254 MiB above the SoC's PHYS_OFFSET.
 */
import type { MsmIommuContext } from '@iommu-lab/msm-bus';
import type { SmmuRow, SocDescription } from './soc.ts';

const RGB_MIDS = [1, 3, 4, 5, 6, 7, 8, 9, 10];
const CODEC_MIDS = [0, 1, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/** Its twelve IOMMUs, and the five kinds of master the project has models of. */
export const MSM8X60: SocDescription = {
  name: 'msm8x60',
  title: 'Qualcomm MSM8x60 (2010): twelve System MMUs, each hard-wired to its masters',
  ram: [{ base: 0x40200000, sizeBytes: 0x0fe00000 }],
  cache: { lineBytes: 32, sets: 256, ways: 4, evictOneIn: 64, speculateOneIn: 16 },
  clocks: [
    'smmu_pclk',
    'jpegd_axi',
    'mdp_axi',
    'ijpeg_axi',
    'vfe_axi',
    'vcodec_axi',
    'gfx3d',
    'gfx2d0',
    'gfx2d1',
  ],
  smmus: [
    smmu('jpegd', 0x07300000, 97, 2, 'jpegd_axi', [
      context('jpegd_src', 0, [0]),
      context('jpegd_dst', 1, [1]),
    ]),
    smmu('vpe', 0x07400000, 83, 2, undefined, [context('vpe_src', 0, [0]), context('vpe_dst', 1, [1])]),
    smmu('mdp0', 0x07500000, 95, 2, 'mdp_axi', [
      context('mdp_vg1', 0, [0, 2]),
      context('mdp_rgb1', 1, RGB_MIDS),
    ]),
    smmu('mdp1', 0x07600000, 93, 2, 'mdp_axi', [
      context('mdp_vg2', 0, [0, 2]),
      context('mdp_rgb2', 1, RGB_MIDS),
    ]),
    smmu('rot', 0x07700000, 91, 2, undefined, [context('rot_src', 0, [0]), context('rot_dst', 1, [1])]),
    smmu('ijpeg', 0x07800000, 99, 2, 'ijpeg_axi', [
      context('ijpeg_src', 0, [0]),
      context('ijpeg_dst', 1, [1]),
    ]),
    smmu('vfe', 0x07900000, 85, 2, 'vfe_axi', [
      context('vfe_imgwr', 0, [2, 3, 4, 5, 6, 7, 8]),
      context('vfe_misc', 1, [0, 1, 9]),
    ]),
    smmu('vcodec_a', 0x07a00000, 89, 2, 'vcodec_axi', [
      context('vcodec_a_stream', 0, [2, 5]),
      context('vcodec_a_mm1', 1, CODEC_MIDS),
    ]),
    smmu('vcodec_b', 0x07b00000, 87, 2, 'vcodec_axi', [context('vcodec_b_mm2', 0, CODEC_MIDS)]),
    smmu('gfx3d', 0x07c00000, 101, 3, 'gfx3d', [
      context('gfx3d_user', 0, range(0, 15)),
      context('gfx3d_priv', 1, range(16, 31)),
    ]),
    smmu('gfx2d0', 0x07d00000, 103, 2, 'gfx2d0', [context('gfx2d0_2d0', 0, range(0, 7))]),
    smmu('gfx2d1', 0x07e00000, 242, 2, 'gfx2d1', [context('gfx2d1_2d1', 0, range(0, 7))]),
  ],
  masters: [
    {
      name: 'vfe',
      compatible: 'qcom,vfe',
      model: 'vfe',
      registers: { base: 0x04500000, sizeBytes: 0x1000 },
      irq: 164,
      contexts: ['vfe_imgwr', 'vfe_misc'],
      streams: { imageWrite: { context: 'vfe_imgwr', machineId: 2 } },
    },
    {
      name: 'rot',
      compatible: 'qcom,rot',
      model: 'rot',
      registers: { base: 0x04e00000, sizeBytes: 0x1000 },
      irq: 165,
      contexts: ['rot_src', 'rot_dst'],
      streams: {
        source: { context: 'rot_src', machineId: 0 },
        destination: { context: 'rot_dst', machineId: 1 },
      },
    },
    {
      name: 'mdp',
      compatible: 'qcom,mdp',
      model: 'mdp',
      registers: { base: 0x05100000, sizeBytes: 0x1000 },
      irq: 107,
      contexts: ['mdp_vg1', 'mdp_rgb1', 'mdp_vg2', 'mdp_rgb2'],
      streams: { scan: { context: 'mdp_rgb1', machineId: 1 } },
    },
    {
      name: 'gfx2d0',
      compatible: 'qcom,gfx2d',
      model: 'gfx2d',
      registers: { base: 0x04100000, sizeBytes: 0x1000 },
      irq: 166,
      contexts: ['gfx2d0_2d0'],
      streams: {
        source: { context: 'gfx2d0_2d0', machineId: 1 },
        destination: { context: 'gfx2d0_2d0', machineId: 0 },
      },
    },
    {
      name: 'ijpeg',
      compatible: 'qcom,ijpeg',
      model: 'ijpeg',
      registers: { base: 0x04600000, sizeBytes: 0x1000 },
      irq: 167,
      contexts: ['ijpeg_src', 'ijpeg_dst'],
      streams: {
        source: { context: 'ijpeg_src', machineId: 0 },
        destination: { context: 'ijpeg_dst', machineId: 1 },
      },
    },
  ],
};

type UnplacedContext = Omit<MsmIommuContext, 'provider'>;

/** The non-secure interrupt of an instance is the one after its secure interrupt on every 8x60 instance. */
function smmu(
  provider: string,
  base: number,
  secureIrq: number,
  contextBanks: number,
  coreClock: string | undefined,
  contexts: readonly UnplacedContext[],
): SmmuRow {
  return {
    provider,
    base,
    secureIrq,
    nonSecureIrq: secureIrq + 1,
    contextBanks,
    interfaceClock: 'smmu_pclk',
    ...(coreClock === undefined ? {} : { coreClock }),
    contexts: contexts.map((c) => ({ ...c, provider })),
  };
}

function context(name: string, bank: number, machineIds: readonly number[]): UnplacedContext {
  return { context: name, bank, machineIds };
}

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}
