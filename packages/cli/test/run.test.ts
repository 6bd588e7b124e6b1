import { spawnSync } from 'node:child_process';
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { ReportSchema } from '@iommu-lab/board';
import { decode, encode } from 'fast-png';
import { BIN, iommuLab, iommuLabHere, type Ran, workFolder } from './support.ts';

const folder = workFolder();

/** A picture in which every pixel is different. */
function input(width: number, height: number): { data: Uint8Array; width: number; height: number } {
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < width * height; i++) data.set([i & 0xff, (i >> 8) & 0xff, (i * 7) & 0xff], i * 3);
  return { data, width, height };
}

function bytesOf(out: string): Record<string, string> {
  const names = readdirSync(folder.in(out)).filter((name) => name !== 'timings.json');
  return Object.fromEntries(names.map((name) => [name, readFileSync(folder.in(`${out}/${name}`), 'base64')]));
}

/** The default scenario, seed 7, in `first`: read by many tests, changed by none. */
let first: Ran;
beforeAll(() => {
  first = iommuLab(folder.path, 'run', '--seed', '7', '--out', 'first');
});

function copyOfFirst(name: string): void {
  cpSync(folder.in('first'), folder.in(name), { recursive: true });
}

describe('iommu-lab run', () => {
  test('writes what the display showed: the input turned clockwise by a quarter', async () => {
    const { data, width, height } = input(61, 34);
    writeFileSync(folder.in('in.png'), encode({ data, width, height, channels: 3, depth: 8 }));
    const ran = await iommuLabHere(
      folder.path,
      'run',
      '--image',
      'in.png',
      '--frames',
      '1',
      '--out',
      'turned',
    );
    expect(ran).toMatchObject({ status: 0, stderr: '' });
    const shown = decode(readFileSync(folder.in('turned/frame-0000.png')));
    expect([shown.width, shown.height, shown.channels]).toEqual([height, width, 3]);
    for (let y = 0; y < width; y++) {
      for (let x = 0; x < height; x++) {
        // Line y of the output is column y of the input, from the bottom up.
        const from = ((height - 1 - x) * width + y) * 3;
        const to = (y * height + x) * 3;
        expect([...shown.data.slice(to, to + 3)]).toEqual([...data.slice(from, from + 3)]);
      }
    }
  });

  test('leaves the same bytes when it is run again with the same seed; --json prints the report in place of the summary', () => {
    const again = iommuLab(folder.path, 'run', '--seed', '7', '--json', '--out', 'again');
    expect([first.status, first.stderr, again.status, again.stderr]).toEqual([0, '', 0, '']);
    expect(again.stdout).toBe(readFileSync(folder.in('first/report.json'), 'utf8'));
    const bytes = bytesOf('first');
    expect(Object.keys(bytes)).toEqual(
      expect.arrayContaining(['report.json', 'events.ndjson', 'frame-0000.png', 'frame-0001.png', 'vm0.jpg']),
    );
    expect(bytesOf('again')).toEqual(bytes);
  });

  test('leaves the same pictures with another seed', async () => {
    expect((await iommuLabHere(folder.path, 'run', '--seed', '8', '--out', 'other')).status).toBe(0);
    const [bytes, other] = [bytesOf('first'), bytesOf('other')];
    expect(other['events.ndjson']).not.toBe(bytes['events.ndjson']);
    const isPicture = (name: string): boolean => /\.(png|jpg)$/.test(name);
    for (const name of Object.keys(bytes).filter(isPicture)) expect(other[name]).toBe(bytes[name]);
  });

  test('reports what was mapped, translated and stopped', () => {
    const report = ReportSchema.parse(JSON.parse(readFileSync(folder.in('first/report.json'), 'utf8')));
    expect(report.ok).toBe(true);
    expect(report.faults.map((f) => f.conclusion)).toEqual(['beyond-end', 'permission']);
    for (const provider of ['vfe', 'rot', 'mdp0', 'gfx2d0', 'ijpeg']) {
      const row = report.iommus.find((iommu) => iommu.provider === provider);
      expect(row).toMatchObject({ provider });
      expect(
        Math.min(row?.maps ?? 0, row?.tlbHits ?? 0, row?.walks ?? 0, row?.tableBytesPeak ?? 0),
      ).toBeGreaterThan(0);
    }
  });

  test('events are one JSON object a line, numbered, named as the kernel names its own', () => {
    const lines = readFileSync(folder.in('first/events.ndjson'), 'utf8').trimEnd().split('\n');
    const events = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(events.map((e) => e['seq'])).toEqual(events.map((_, i) => i));
    const names = new Set(events.map((e) => e['event']));
    for (const name of ['iommu:map', 'iommu:unmap', 'iommu:io_page_fault', 'dma:map_sg', 'dma:unmap_sg']) {
      expect(names).toContain(name);
    }
    expect(new Set(events.map((e) => e['scope']))).toEqual(new Set(['host', 'host/vm0']));
  });

  test('the summary explains what was stopped and counts per IOMMU', () => {
    const { stdout } = first;
    expect(stdout).toContain('vfe: write at');
    expect(stdout).toContain('remedy');
    expect(stdout).toMatch(/^IOMMU +maps +unmaps +table bytes +hits +misses +walks +invalidations +faults$/m);
    expect(stdout).toContain('All 5 steps as they should be, 2 access(es) stopped and explained.');
  });

  test('pictures of an earlier, longer run do not stay behind; files of others do', async () => {
    copyOfFirst('frames');
    writeFileSync(folder.in('frames/frame-0007.png'), 'not ours');
    const { status } = await iommuLabHere(folder.path, 'run', 'isolation', '--out', 'frames');
    expect(status).toBe(0);
    expect(readdirSync(folder.in('frames')).sort()).toEqual([
      'events.ndjson',
      'frame-0007.png',
      'report.json',
      'timings.json',
    ]);
  });

  test('the picture given is neither removed nor overwritten', async () => {
    copyOfFirst('reused');
    const before = readFileSync(folder.in('reused/frame-0001.png'));
    const again = ['run', '--image', 'reused/frame-0001.png', '--out', 'reused'];
    expect(await iommuLabHere(folder.path, ...again, '--frames', '2')).toMatchObject({
      status: 2,
      stderr: 'iommu-lab: reused/frame-0001.png: is the picture given (choose another --out)\n',
    });
    expect((await iommuLabHere(folder.path, ...again, '--frames', '1')).status).toBe(0);
    expect(readFileSync(folder.in('reused/frame-0001.png'))).toEqual(before);
  });

  test('ends with 1 when an expectation does not hold, and still writes the report', () => {
    writeFileSync(
      folder.in('wrong.yaml'),
      'version: 1\nname: wrong\nsteps:\n  - { do: trespass, device: vfe, attempt: write, at: inside, expect: stopped }\n',
    );
    const { status, stdout } = iommuLab(folder.path, 'run', 'wrong.yaml', '--out', 'wrong');
    expect(status).toBe(1);
    expect(stdout).toContain('problem: the access was let through; it should have been stopped');
    expect(JSON.parse(readFileSync(folder.in('wrong/report.json'), 'utf8'))).toMatchObject({ ok: false });
  });
});

test('a reader that goes away early is no failure', () => {
  const script = '"$0" "$1" run isolation --json --out piped | true; echo "${PIPESTATUS[0]}"';
  const { stdout, stderr } = spawnSync('bash', ['-c', script, process.execPath, BIN], {
    cwd: folder.path,
    encoding: 'utf8',
  });
  expect([stdout, stderr]).toEqual(['0\n', '']);
});

test('every scenario that comes along works', async () => {
  const { stdout } = await iommuLabHere(folder.path, 'scenarios');
  const names = stdout
    .trimEnd()
    .split('\n')
    .slice(1)
    .map((line) => line.split(' ')[0] as string);
  expect(names).toEqual(['default', 'crowded-engine', 'isolation', 'nic', 'process-space', 'which-iommu']);
  for (const name of names.slice(1)) {
    const ran = await iommuLabHere(folder.path, 'run', name, '--out', `shipped-${name}`);
    expect([name, ran.status]).toEqual([name, 0]);
  }
}, 120_000);

test('boards lists every IOMMU context with who sits behind it', async () => {
  const { status, stdout } = await iommuLabHere(folder.path, 'boards');
  expect(status).toBe(0);
  expect(stdout).toMatch(/^rot +0x07700000 +rot_src +0 +0 +rot$/m);
});
