export interface Row {
  layer: number;
  /** What its sources may import: `package`, or `package/entry` for that one entry only. */
  imports: string[];
  /** What its tests may import besides everything from a lower layer. */
  testImports?: string[];
  /** Narrower lists for folders of the package. */
  folders?: Record<string, string[]>;
  /** The package's name, where it is not scope + folder. */
  name?: string;
}

export interface LayerMap {
  scope: string;
  /** Packages of tools/ that any package may have as a devDependency. */
  tools: string[];
  packages: Record<string, Row>;
}

/** Compares packages/* below `root` with the map. Each problem is `file:line: what is wrong. What to do.` */
export function checkLayers(root: string, map: LayerMap): { problems: string[]; imports: number };
