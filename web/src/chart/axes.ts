// SPDX-License-Identifier: MIT
// What stands over the signals: uPlot with the axes, the grid and the cursor's line, transparent,
// and drawn by its hooks gaps, limits, the marks A and B, a selection, a trigger.

import uPlot from "uplot";
import type { Missing } from "./gaps";
import type { Ink } from "./palette";
import { clock, digitsFor, tickLabel, timeStep, timeTicks } from "./time";
import type { Span } from "./timeline";

export const GUTTER = 60; // of a y axis, CSS pixels
export const TOP = 20;
const BOTTOM = 26;
const EDGE = 10;

export interface AxisInfo {
  key: string;
  title: string; // unit
  colour: string;
  symbols: string[] | null;
  min: number;
  max: number;
}

export interface Overlay {
  gaps: Missing[];
  limits: { axis: number; value: number; colour: string; text: string }[];
  marks: { at: number; text: string; colour: string }[];
  selection: Span | null;
  words: string; // in the middle: why there is nothing
}

export class Axes {
  readonly plot: uPlot;
  private readonly gutters: number;
  private from = 0;
  private to = 1;
  overlay: Overlay = { gaps: [], limits: [], marks: [], selection: null, words: "" };

  constructor(
    element: HTMLElement,
    readonly axes: AxisInfo[],
    private readonly ink: Ink,
    left: number,
    right: number,
    size: { width: number; height: number },
  ) {
    this.gutters = left + right;
    const lefts = Math.ceil(axes.length / 2);
    const pad = (want: number, have: number): number => Math.max(0, want - have) * GUTTER;
    const options: uPlot.Options = {
      ...size,
      padding: [TOP, EDGE + pad(right, axes.length - lefts), 0, pad(left, lefts)],
      legend: { show: false },
      cursor: cursorOptions(),
      scales: { x: { time: false, auto: false } },
      axes: [this.timeAxis()],
      series: [{}],
      hooks: { drawClear: [(u) => this.drawUnder(u)], draw: [(u) => this.drawOver(u)] },
    };
    axes.forEach((axis, i) => {
      options.scales![axis.key] = { auto: false, range: () => [axis.min, axis.max] };
      options.axes!.push(this.valueAxis(axis, i));
      options.series.push({
        scale: axis.key,
        show: true,
        stroke: axis.colour,
        paths: () => null,
        points: { show: false },
      });
    });
    this.plot = new uPlot(
      options,
      [[0, 1], ...axes.map(() => [null, null])] as uPlot.AlignedData,
      element,
    );
    this.plot.over.classList.add("chart-over");
  }

  /** Of the plot alone, in CSS pixels, as uPlot will lay it out. */
  private get room(): { width: number; height: number } {
    const axes = this.gutters * GUTTER;
    return { width: this.plot.width - axes - EDGE, height: this.plot.height - TOP - BOTTOM };
  }

  private timeAxis(): uPlot.Axis {
    const labels = (): number => Math.max(2, Math.floor(this.room.width / 96));
    const step = (from: number, to: number): number => timeStep(to - from, labels());
    return {
      scale: "x",
      size: BOTTOM,
      gap: 6,
      font: `11px ${this.ink.font}`,
      stroke: this.ink.text2,
      grid: { stroke: this.ink.grid, width: 1 },
      ticks: { stroke: this.ink.grid, width: 1, size: 4 },
      splits: (_, __, from, to) => timeTicks(from, to, step(from, to)),
      values: (_, splits) => {
        const by = step(this.from, this.to);
        return splits.map((at) => tickLabel(at, by));
      },
    };
  }

  private valueAxis(axis: AxisInfo, i: number): uPlot.Axis {
    const common: uPlot.Axis = {
      scale: axis.key,
      side: i % 2 === 0 ? 3 : 1,
      size: GUTTER,
      gap: 5,
      font: `11px ${this.ink.font}`,
      stroke: axis.colour,
      space: 26,
      grid: { show: i === 0, stroke: this.ink.grid, width: 1 },
      ticks: { stroke: this.ink.grid, width: 1, size: 4 },
    };
    const symbols = axis.symbols;
    if (!symbols) return common;
    return {
      ...common,
      splits: (u, __, min, max) => {
        // Of what uPlot has laid out nothing is known yet when it asks for the first time.
        const room = Math.max(1, Math.floor((u.height - TOP - BOTTOM) / 14));
        const each = Math.max(1, Math.ceil((max - min) / room));
        const splits: number[] = [];
        for (let k = Math.max(0, Math.ceil(min)); k <= max && k < symbols.length; k += each)
          splits.push(k);
        return splits;
      },
      values: (_, splits) => splits.map((k) => shorten(symbols[k] ?? "")),
    };
  }

  /** Draws them for this span. */
  show(from: number, to: number): void {
    this.from = from;
    this.to = to;
    this.plot.batch(() => {
      this.plot.setScale("x", { min: from, max: to });
      for (const axis of this.axes) this.plot.setScale(axis.key, { min: axis.min, max: axis.max });
    });
  }

  /** The cursor's line, at so many CSS pixels of the plot; null: none. */
  cursor(left: number | null): void {
    const there = left !== null && left >= 0 && left <= this.plot.over.clientWidth;
    this.plot.setCursor({ left: there ? left : -10, top: there ? 0 : -10 }, false);
  }

  private x(at: number): number {
    const box = this.plot.bbox;
    return box.left + ((at - this.from) / (this.to - this.from)) * box.width;
  }

  private drawUnder(u: uPlot): void {
    const { ctx } = u;
    const box = u.bbox;
    ctx.save();
    ctx.beginPath();
    ctx.rect(box.left, box.top, box.width, box.height);
    ctx.clip();
    if (this.overlay.selection) {
      const { from, to } = this.overlay.selection;
      ctx.globalAlpha = 0.16;
      ctx.fillStyle = this.ink.accent;
      ctx.fillRect(this.x(from), box.top, this.x(to) - this.x(from), box.height);
    }
    ctx.restore();
  }

  private drawOver(u: uPlot): void {
    const { ctx } = u;
    const box = u.bbox;
    const scale = devicePixelRatio;
    ctx.save();
    ctx.textBaseline = "alphabetic";
    ctx.font = `${11 * scale}px ${this.ink.font}`;
    this.axes.forEach((axis, i) => this.drawTitle(ctx, box, axis, i, scale));
    ctx.beginPath();
    ctx.rect(box.left, box.top, box.width, box.height);
    ctx.clip();
    for (const gap of this.overlay.gaps) this.drawGap(ctx, box, gap, scale);
    for (const limit of this.overlay.limits) this.drawLimit(ctx, box, limit, scale);
    for (const mark of this.overlay.marks) this.drawMark(ctx, box, mark, scale);
    if (this.overlay.words) {
      ctx.fillStyle = this.ink.text2;
      ctx.textAlign = "center";
      ctx.font = `${13 * scale}px ${this.ink.font}`;
      ctx.fillText(
        this.overlay.words,
        box.left + box.width / 2,
        box.top + box.height / 2,
        box.width - 20,
      );
    }
    ctx.restore();
  }

  private drawTitle(
    ctx: CanvasRenderingContext2D,
    box: uPlot.BBox,
    axis: AxisInfo,
    i: number,
    scale: number,
  ): void {
    if (!axis.title) return;
    const depth = Math.floor(i / 2) * GUTTER * scale;
    ctx.fillStyle = axis.colour;
    ctx.textAlign = i % 2 === 0 ? "right" : "left";
    const x = i % 2 === 0 ? box.left - depth - 5 * scale : box.left + box.width + depth + 5 * scale;
    ctx.fillText(axis.title, x, box.top - 8 * scale);
  }

  // Hatched, so that it is told from a selection without colours; what is narrow is a line with a
  // mark on top.
  private drawGap(
    ctx: CanvasRenderingContext2D,
    box: uPlot.BBox,
    gap: Missing,
    scale: number,
  ): void {
    const x0 = Math.max(box.left - 2, this.x(gap.from));
    const x1 = Math.min(box.left + box.width + 2, this.x(gap.to));
    const width = Math.max(1.5 * scale, x1 - x0);
    const colour = gap.count === null ? this.ink.warn : this.ink.bad;
    ctx.fillStyle = colour;
    ctx.strokeStyle = colour;
    ctx.globalAlpha = width < 6 * scale ? 0.35 : 0.1;
    ctx.fillRect(x0, box.top, width, box.height);
    if (width >= 6 * scale) {
      ctx.save();
      ctx.beginPath();
      ctx.rect(x0, box.top, width, box.height);
      ctx.clip();
      ctx.globalAlpha = 0.3;
      ctx.lineWidth = scale;
      ctx.beginPath();
      const pitch = 9 * scale;
      const start = Math.floor((x0 - box.height) / pitch) * pitch;
      for (let x = start; x < x1; x += pitch) {
        ctx.moveTo(x, box.top + box.height);
        ctx.lineTo(x + box.height, box.top);
      }
      ctx.stroke();
      ctx.restore();
    }
    ctx.globalAlpha = 1;
    const middle = x0 + width / 2;
    ctx.beginPath();
    ctx.moveTo(middle - 4 * scale, box.top);
    ctx.lineTo(middle + 4 * scale, box.top);
    ctx.lineTo(middle, box.top + 6 * scale);
    ctx.fill();
    this.drawReason(ctx, box, gap, middle, width, scale);
  }

  private drawReason(
    ctx: CanvasRenderingContext2D,
    box: uPlot.BBox,
    gap: Missing,
    x: number,
    width: number,
    scale: number,
  ): void {
    const texts = gap.count ? [`${gap.reason}: ${gap.count}`, `${gap.count} lost`] : [gap.reason];
    const room = (text: string): number => ctx.measureText(text).width + 10 * scale;
    const level = texts.find((text) => room(text) < width);
    const upright = texts.find((text) => room(text) + 16 * scale < box.height);
    ctx.textAlign = "center";
    if (level) ctx.fillText(level, x, box.top + 18 * scale);
    else if (width > 16 * scale && upright) {
      ctx.save();
      ctx.translate(x + 4 * scale, box.top + box.height / 2);
      ctx.rotate(-Math.PI / 2);
      ctx.fillText(upright, 0, 0);
      ctx.restore();
    }
  }

  private drawLimit(
    ctx: CanvasRenderingContext2D,
    box: uPlot.BBox,
    limit: Overlay["limits"][number],
    scale: number,
  ): void {
    const axis = this.axes[limit.axis]!;
    const y = box.top + ((axis.max - limit.value) / (axis.max - axis.min)) * box.height;
    ctx.strokeStyle = limit.colour;
    ctx.fillStyle = limit.colour;
    ctx.lineWidth = scale;
    ctx.setLineDash([6 * scale, 4 * scale]);
    ctx.beginPath();
    ctx.moveTo(box.left, y);
    ctx.lineTo(box.left + box.width, y);
    ctx.stroke();
    ctx.setLineDash([]);
    const width = ctx.measureText(limit.text).width;
    const right = box.left + box.width - 4 * scale;
    ctx.globalAlpha = 0.8;
    ctx.fillStyle = this.ink.surface;
    ctx.fillRect(right - width - 3 * scale, y - 15 * scale, width + 6 * scale, 14 * scale);
    ctx.globalAlpha = 1;
    ctx.fillStyle = limit.colour;
    ctx.textAlign = "right";
    ctx.fillText(limit.text, right, y - 4 * scale);
  }

  private drawMark(
    ctx: CanvasRenderingContext2D,
    box: uPlot.BBox,
    mark: Overlay["marks"][number],
    scale: number,
  ): void {
    const x = Math.round(this.x(mark.at));
    ctx.fillStyle = mark.colour;
    ctx.fillRect(x - scale / 2, box.top, scale, box.height);
    const width = Math.max(14 * scale, ctx.measureText(mark.text).width + 8 * scale);
    ctx.fillRect(x - width / 2, box.top, width, 14 * scale);
    ctx.fillStyle = this.ink.surface;
    ctx.textAlign = "center";
    ctx.fillText(mark.text, x, box.top + 11 * scale);
  }

  destroy(): void {
    this.plot.destroy();
  }
}

function shorten(text: string): string {
  return text.length > 7 ? `${text.slice(0, 6)}…` : text;
}

function cursorOptions(): uPlot.Cursor {
  const none = (): null => null;
  return {
    x: true,
    y: false,
    points: { show: false },
    drag: { x: false, y: false, setScale: false },
    bind: {
      mousedown: none,
      mouseup: none,
      click: none,
      dblclick: none,
      mousemove: none,
      mouseleave: none,
      mouseenter: none,
    },
  };
}

/** The time under the cursor, to what a pixel tells apart. */
export function cursorTime(at: number, pixel: number): string {
  return clock(at, Math.min(9, digitsFor(pixel) + 1));
}
