/** A line on the terminal that tells what is going on. Elsewhere (a pipe, a log) nothing is shown. */
import type { RunProgress } from '@iommu-lab/board';
import ora from 'ora';

/** The line, while there is one. */
export interface ProgressLine {
  show(progress: RunProgress): void;
  /** Takes the line away. */
  end(): void;
}

/** The line is not there before the first `show`. */
export function showProgress(): ProgressLine {
  const { stderr } = process;
  const spinner = ora({ stream: stderr, isSilent: !stderr.isTTY, discardStdin: false });
  return {
    show({ step, steps, what }) {
      spinner.text = `[${step}/${steps}] ${what}`;
      if (!spinner.isSpinning) spinner.start();
      spinner.render();
    },
    end: () => spinner.stop(),
  };
}
