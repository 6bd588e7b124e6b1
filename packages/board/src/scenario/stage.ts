/** The world outside the machine during a run: the scene the camera sees, and what the display showed. */
import type { Panel, Sensor } from '@iommu-lab/media-devices/models';
import type { Picture } from '../picture.ts';

/** A still scene, and a screen that remembers. */
export class Stage {
  readonly scene: Picture;
  readonly sensor: Sensor;
  readonly panel: Panel;
  readonly #shown: Picture[] = [];

  constructor(scene: Picture) {
    this.scene = scene;
    this.sensor = { width: scene.width, height: scene.height, frame: () => scene.pixels };
    this.panel = {
      show: (pixels, width, height) => this.#shown.push({ width, height, pixels: pixels.slice() }),
    };
  }

  /** Takes what the display has shown since the last call, oldest first. */
  takeShown(): readonly Picture[] {
    return this.#shown.splice(0);
  }
}
