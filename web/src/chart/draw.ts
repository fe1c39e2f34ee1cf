// SPDX-License-Identifier: MIT
// Signals on a canvas: bins of a pixel as bars from minimum to maximum, each joined to the next,
// single datums as a line with a mark at each; never across a gap. Draws any range of columns, so
// that a strip that scrolls draws only what is new.

import { parted } from "./gaps";
import { dashAt } from "./palette";
import { heldAt, type ChannelView, type Piece } from "./pieces";
import { BinRing, lowerBound, SampleRing } from "./ring";

export interface Trace {
  view: ChannelView;
  field: string;
  colour: string;
  dash: readonly number[];
  steps: boolean; // enums, booleans
  min: number; // of its axis
  max: number;
}

/** Column x is the moment (base + x) * pixel: a strip's base is whole, so that a bin stays in its
 * column wherever that has moved to. */
export interface Columns {
  base: number;
  pixel: number; // seconds
  height: number; // device pixels
  scale: number; // device pixels a CSS pixel
}

class Pen {
  private x = NaN; // where it is; NaN: up
  private y = NaN;
  private at = NaN; // its moment
  private lo = NaN; // its values' y, for steps
  private hi = NaN;
  readonly marks: number[] = [];
  private readonly steep: number;

  constructor(
    private readonly context: CanvasRenderingContext2D,
    private readonly trace: Trace,
    private readonly columns: Columns,
    private readonly shift: number, // of the dash
  ) {
    this.steep = 3 * columns.scale;
  }

  y_of(value: number): number {
    const { min, max } = this.trace;
    const height = this.columns.height;
    const y = ((max - value) / (max - min)) * height;
    return y < -height ? -height : y > 2 * height ? 2 * height : y;
  }

  /** `at`: the moment, or the first and the last of a column. */
  to(x: number, at: number, yLo: number, yHi: number, until = at): void {
    const { view, steps } = this.trace;
    if (!Number.isNaN(this.x) && parted(this.at, at, view.usual, view.gaps)) this.lift();
    const context = this.context;
    if (Number.isNaN(this.x)) {
      const half = 0.75 * this.columns.scale;
      context.moveTo(x - half, yLo); // whatever stands alone is seen
      context.lineTo(x + (yLo === yHi ? half : 0), yLo);
      context.moveTo(x, yLo);
      if (yHi !== yLo) context.lineTo(x, yHi);
      this.y = yHi;
    } else if (steps) {
      // What held since is the end of the last bin that is nearer to what comes next.
      const held = Math.abs(this.lo - yHi) < Math.abs(this.hi - yLo) ? this.lo : this.hi;
      if (held !== this.y) context.moveTo(this.x, held);
      this.line(this.x, held, x, held);
      if (yLo !== held) context.lineTo(x, yLo);
      if (yHi !== held || yLo !== held) context.lineTo(x, yHi);
      this.y = yHi;
    } else if (Math.abs(this.y - yLo) <= Math.abs(this.y - yHi)) {
      this.line(this.x, this.y, x, yLo);
      if (yHi !== yLo) context.lineTo(x, yHi);
      this.y = yHi;
    } else {
      this.line(this.x, this.y, x, yHi);
      context.lineTo(x, yLo);
      this.y = yLo;
    }
    this.x = x;
    this.at = until;
    this.lo = yLo;
    this.hi = yHi;
  }

  /** To the edge, for what holds until something else comes. */
  hold(x: number, at: number): void {
    const { view, steps } = this.trace;
    if (!steps || Number.isNaN(this.x) || parted(this.at, at, view.usual, view.gaps)) return;
    this.line(this.x, this.y, x, this.y);
  }

  lift(): void {
    this.x = NaN;
  }

  private line(x0: number, y0: number, x1: number, y1: number): void {
    const dash = this.trace.dash;
    const context = this.context;
    if (dash.length === 0 || Math.abs(y1 - y0) > Math.max(this.steep, 3 * (x1 - x0))) {
      context.lineTo(x1, y1);
      return;
    }
    const scale = this.columns.scale;
    for (let x = x0; x < x1;) {
      const { on, left } = dashAt(dash, (x + this.shift) / scale);
      x = Math.min(x1, x + Math.max(left * scale, 0.01));
      const y = y0 + ((x - x0) / (x1 - x0)) * (y1 - y0);
      if (on) context.lineTo(x, y);
      else context.moveTo(x, y);
    }
  }
}

/** Adds columns x0 to x1 of a trace to the canvas, whose clip keeps the rest as it is. */
export function drawTrace(
  context: CanvasRenderingContext2D,
  trace: Trace,
  columns: Columns,
  x0: number,
  x1: number,
): void {
  const { base, pixel, scale } = columns;
  const pen = new Pen(context, trace, columns, Math.floor(base));
  const from = (base + x0 - 3 * scale) * pixel;
  const to = (base + x1 + 2) * pixel;
  context.beginPath();
  const held = heldAt(trace.view, trace.field, from);
  if (held && held.at < from)
    pen.to(held.at / pixel - base, held.at, pen.y_of(held.lo), pen.y_of(held.hi));
  for (const piece of trace.view.pieces) {
    const column = piece.fields.indexOf(trace.field);
    if (column < 0 || piece.to <= from || piece.from >= to) continue;
    if (piece.source instanceof SampleRing) drawSamples(pen, piece, column, columns, from, to);
    else if (piece.source.width <= pixel) drawBins(pen, piece, column, columns, from, to);
    else drawWideBins(pen, piece, column, columns, from, to);
  }
  pen.hold(x1, (base + x1) * pixel);
  context.strokeStyle = trace.colour;
  context.lineWidth = 1.5 * scale;
  context.lineJoin = "bevel";
  context.stroke();
  if (pen.marks.length > 0) drawMarks(context, pen.marks, trace.colour, scale);
}

// Several bins, or one, make a column.
function drawBins(
  pen: Pen,
  piece: Piece,
  field: number,
  columns: Columns,
  from: number,
  to: number,
): void {
  const ring = piece.source as BinRing;
  const { base, pixel } = columns;
  const width = ring.width;
  const first = Math.max(ring.first, Math.ceil(Math.max(from, piece.from) / width - 0.5));
  const end = Math.min(ring.end, Math.ceil(Math.min(to, piece.to) / width - 0.5));
  const los = ring.lo[field]!;
  const his = ring.hi[field]!;
  let column = NaN;
  let lo = NaN;
  let hi = NaN;
  let at = NaN; // of the column's first bin, and of its last
  let until = NaN;
  const draw = (): void => {
    if (lo === lo) pen.to(column + 0.5, at, pen.y_of(lo), pen.y_of(hi), until);
  };
  let slot = ring.slot(first);
  for (let bin = first; bin < end; bin++, slot = slot + 1 === ring.capacity ? 0 : slot + 1) {
    const least = los[slot]!;
    if (least !== least) continue;
    const middle = (bin + 0.5) * width;
    const x = Math.floor(middle / pixel - base);
    if (x !== column) {
      draw();
      column = x;
      at = until = middle;
      lo = least;
      hi = his[slot]!;
      continue;
    }
    until = middle;
    if (least < lo) lo = least;
    if (his[slot]! > hi) hi = his[slot]!;
  }
  draw();
}

// A bin is wider than a pixel: its bar stands in its middle.
function drawWideBins(
  pen: Pen,
  piece: Piece,
  field: number,
  columns: Columns,
  from: number,
  to: number,
): void {
  const ring = piece.source as BinRing;
  const { base, pixel } = columns;
  const first = Math.max(ring.first, Math.ceil(Math.max(from, piece.from) / ring.width - 0.5));
  const beyond = to + 2 * ring.width;
  const end = Math.min(ring.end, Math.ceil(Math.min(beyond, piece.to) / ring.width - 0.5));
  for (let bin = first; bin < end; bin++) {
    const slot = ring.slot(bin);
    const lo = ring.lo[field]![slot]!;
    if (lo !== lo) continue;
    const at = (bin + 0.5) * ring.width;
    pen.to(at / pixel - base, at, pen.y_of(lo), pen.y_of(ring.hi[field]![slot]!));
  }
}

function drawSamples(
  pen: Pen,
  piece: Piece,
  field: number,
  columns: Columns,
  from: number,
  to: number,
): void {
  const ring = piece.source as SampleRing;
  const { base, pixel, scale } = columns;
  const values = ring.values[field]!;
  const times = ring.times;
  const first = lowerBound(times, ring.length, Math.max(from, piece.from));
  const marked = ring.spacing.usual === 0 || ring.spacing.usual / pixel >= 5 * scale;
  for (let i = first; i < ring.length; i++) {
    const at = times[i]!;
    if (at >= piece.to) break;
    const value = values[i]!;
    if (value === value) {
      const x = at / pixel - base;
      const y = pen.y_of(value);
      pen.to(x, at, y, y);
      if (marked) pen.marks.push(x, y);
    }
    if (at > to) break; // one beyond, for the line to it
  }
}

function drawMarks(
  context: CanvasRenderingContext2D,
  marks: number[],
  colour: string,
  scale: number,
): void {
  context.fillStyle = colour;
  context.beginPath();
  const radius = 2.25 * scale;
  for (let i = 0; i < marks.length; i += 2) {
    context.moveTo(marks[i]! + radius, marks[i + 1]!);
    context.arc(marks[i]!, marks[i + 1]!, radius, 0, 2 * Math.PI);
  }
  context.fill();
}
