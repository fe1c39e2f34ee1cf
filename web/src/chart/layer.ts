// SPDX-License-Identifier: MIT
// The canvas that the signals are on, opaque. Live it scrolls by copying itself by whole pixels and
// draws only the columns that are new or have changed; else it is painted as a whole.

import { drawTrace, type Trace } from "./draw";

export class Layer {
  readonly canvas = document.createElement("canvas");
  private readonly context: CanvasRenderingContext2D;
  private base = NaN; // of what is painted; NaN: nothing that can be moved
  private pixel = 0;
  private ranges = "";
  repaints = 0;
  scrolls = 0;

  constructor() {
    this.context = this.canvas.getContext("2d", { alpha: false })!;
  }

  resize(width: number, height: number, scale: number): void {
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = Math.max(1, width);
      this.canvas.height = Math.max(1, height);
      this.forget();
    }
    this.canvas.style.width = `${width / scale}px`;
    this.canvas.style.height = `${height / scale}px`;
  }

  /** What is painted is not worth moving any more. */
  forget(): void {
    this.base = NaN;
  }

  /** A strip whose first column is `base`, of which everything from the moment `dirty` on has
   * changed. */
  scroll(
    traces: Trace[],
    base: number,
    pixel: number,
    dirty: number,
    paper: string,
    scale: number,
  ): void {
    const { width, height } = this.canvas;
    const ranges = traces
      .map((t) => `${t.field} ${t.min} ${t.max} ${t.colour} ${t.dash}`)
      .join("|");
    const moved = base - this.base;
    const keeps = pixel === this.pixel && ranges === this.ranges && moved >= 0 && moved < width;
    this.base = base;
    this.pixel = pixel;
    this.ranges = ranges;
    // A line ends in its last column as it does not once it goes on: two columns are drawn again.
    const from = keeps
      ? Math.max(0, Math.min(width - moved - 3, Math.floor(dirty / pixel - base) - 1))
      : 0;
    if (from <= 0) {
      this.paint(traces, base, pixel, 0, width, paper, scale);
      this.repaints++;
      return;
    }
    if (moved > 0) this.context.drawImage(this.canvas, -moved, 0);
    this.scrolls++;
    this.context.save();
    this.context.beginPath();
    this.context.rect(from, 0, width - from, height);
    this.context.clip();
    this.paint(traces, base, pixel, from, width, paper, scale);
    this.context.restore();
  }

  still(traces: Trace[], base: number, pixel: number, paper: string, scale: number): void {
    this.forget();
    this.repaints++;
    this.paint(traces, base, pixel, 0, this.canvas.width, paper, scale);
  }

  private paint(
    traces: Trace[],
    base: number,
    pixel: number,
    from: number,
    to: number,
    paper: string,
    scale: number,
  ): void {
    this.context.fillStyle = paper;
    this.context.fillRect(from, 0, to - from, this.canvas.height);
    const columns = { base, pixel, height: this.canvas.height, scale };
    for (let i = traces.length - 1; i >= 0; i--)
      drawTrace(this.context, traces[i]!, columns, from, to);
  }
}
