// SPDX-License-Identifier: MIT
// What is known of a channel for a view, put together from what is live and what history gave:
// pieces in order of time, each valid for its own span. Questions about them: the value that held
// at a moment, statistics, rows of a table. Pure.

import { parted, type Missing } from "./gaps";
import { BinRing, lowerBound, SampleRing } from "./ring";

export interface Piece {
  source: BinRing | SampleRing;
  fields: readonly string[]; // of the source's columns
  from: number; // what of it counts, seconds from ORIGIN
  to: number;
}

export interface ChannelView {
  pieces: Piece[];
  usual: number; // spacing; 0: not known
  gaps: Missing[];
}

export const NOTHING: ChannelView = { pieces: [], usual: 0, gaps: [] };

export interface Held {
  lo: number;
  hi: number;
  at: number; // of the datum, or the middle of the bin
}

/** What is there at moments in [from, to), oldest first: each bin or datum. `see` returns true to
 * stop. */
export function eachValue(
  piece: Piece,
  column: number,
  from: number,
  to: number,
  see: (at: number, lo: number, hi: number) => boolean | void,
): void {
  const source = piece.source;
  const begin = Math.max(from, piece.from);
  const end = Math.min(to, piece.to);
  if (source instanceof SampleRing) {
    const values = source.values[column]!;
    for (let i = lowerBound(source.times, source.length, begin); i < source.length; i++) {
      const at = source.times[i]!;
      if (at >= end) return;
      const value = values[i]!;
      if (value === value && see(at, value, value)) return;
    }
    return;
  }
  const lo = source.lo[column]!;
  const hi = source.hi[column]!;
  const first = Math.max(source.first, Math.ceil(begin / source.width - 0.5));
  const last = Math.min(source.end, Math.ceil(end / source.width - 0.5));
  for (let bin = first; bin < last; bin++) {
    const slot = source.slot(bin);
    if (lo[slot] === lo[slot] && see((bin + 0.5) * source.width, lo[slot]!, hi[slot]!)) return;
  }
}

/** The last that is there at or before `at` in a piece. */
function lastBefore(piece: Piece, column: number, at: number): Held | null {
  const source = piece.source;
  const until = Math.min(at, piece.to);
  if (source instanceof SampleRing) {
    const values = source.values[column]!;
    let i = lowerBound(source.times, source.length, until);
    if (i < source.length && source.times[i] === until) i++;
    for (i--; i >= 0 && source.times[i]! >= piece.from; i--)
      if (values[i] === values[i]) return { lo: values[i]!, hi: values[i]!, at: source.times[i]! };
    return null;
  }
  const lo = source.lo[column]!;
  const first = Math.max(source.first, Math.floor(piece.from / source.width));
  let bin = Math.min(source.end - 1, Math.floor(until / source.width));
  for (; bin >= first; bin--) {
    const slot = source.slot(bin);
    if (lo[slot] === lo[slot])
      return { lo: lo[slot]!, hi: source.hi[column]![slot]!, at: (bin + 0.5) * source.width };
  }
  return null;
}

/** The value that held at a moment: of the last datum at or before it, or of its bin; null in a gap
 * and before the first. */
export function heldAt(view: ChannelView, field: string, at: number): Held | null {
  for (let i = view.pieces.length - 1; i >= 0; i--) {
    const piece = view.pieces[i]!;
    if (piece.from > at) continue;
    const column = piece.fields.indexOf(field);
    const held = column < 0 ? null : lastBefore(piece, column, at);
    if (!held) continue;
    const half = piece.source instanceof BinRing ? piece.source.width / 2 : 0;
    if (at <= held.at + half) return held;
    return parted(held.at, at, view.usual, view.gaps) ? null : held;
  }
  return null;
}

export interface Statistics {
  min: number;
  max: number;
  mean: number; // of bins: of their middles
  count: number;
  bins: boolean; // some of it was bins
}

export function statistics(view: ChannelView, field: string, from: number, to: number): Statistics {
  const result: Statistics = { min: NaN, max: NaN, mean: NaN, count: 0, bins: false };
  let sum = 0;
  for (const piece of view.pieces) {
    const column = piece.fields.indexOf(field);
    if (column < 0) continue;
    const before = result.count;
    eachValue(piece, column, from, to, (_, lo, hi) => {
      if (!(result.min <= lo)) result.min = lo;
      if (!(result.max >= hi)) result.max = hi;
      sum += lo + (hi - lo) / 2;
      result.count++;
    });
    if (result.count > before && piece.source instanceof BinRing) result.bins = true;
  }
  if (result.count > 0) result.mean = sum / result.count;
  return result;
}

/** What there is of a field in [from, to), at most `most`, and whether that is all. */
export function moments(
  view: ChannelView,
  field: string,
  from: number,
  to: number,
  most: number,
): { values: Held[]; all: boolean } {
  const values: Held[] = [];
  for (const piece of view.pieces) {
    const column = piece.fields.indexOf(field);
    if (column < 0) continue;
    eachValue(piece, column, from, to, (at, lo, hi) => values.push({ at, lo, hi }) > most);
    if (values.length > most) return { values: values.slice(0, most), all: false };
  }
  return { values, all: true };
}

/** Where nothing came for longer than is usual, within [from, to): what is shaded besides the gaps
 * that were told. A gap that was told names the reason. */
export function silences(view: ChannelView, from: number, to: number, until: number): Missing[] {
  const found: Missing[] = [];
  if (!(view.usual > 0)) return found;
  let last = NaN;
  const pass = (at: number): void => {
    if (at - last > 3.001 * view.usual && at > from)
      found.push({
        from: last,
        to: at,
        reason: reasonFor(view, last, at),
        count: countFor(view, last, at),
      });
    last = at;
  };
  last = lastMoment(view, from);
  for (const piece of view.pieces) everyMoment(piece, from, to, pass);
  if (!Number.isNaN(last) && until - last > Math.max(3 * view.usual, 1) && until > from)
    found.push({ from: last, to: until, reason: reasonFor(view, last, until), count: null });
  return found;
}

function lastMoment(view: ChannelView, at: number): number {
  for (let i = view.pieces.length - 1; i >= 0; i--) {
    const piece = view.pieces[i]!;
    if (piece.from > at) continue;
    const found = piece.fields.map((_, column) => lastBefore(piece, column, at)?.at ?? -Infinity);
    const newest = Math.max(-Infinity, ...found);
    if (newest > -Infinity) return newest;
  }
  return NaN;
}

function everyMoment(piece: Piece, from: number, to: number, see: (at: number) => void): void {
  const source = piece.source;
  const begin = Math.max(from, piece.from);
  const end = Math.min(to, piece.to);
  if (source instanceof SampleRing) {
    for (let i = lowerBound(source.times, source.length, begin); i < source.length; i++) {
      if (source.times[i]! >= end) return;
      see(source.times[i]!);
    }
    return;
  }
  const last = Math.min(source.end, Math.ceil(end / source.width - 0.5));
  for (let bin = Math.max(source.first, Math.ceil(begin / source.width - 0.5)); bin < last; bin++) {
    const slot = source.slot(bin);
    for (const lo of source.lo)
      if (lo[slot] === lo[slot]) {
        see((bin + 0.5) * source.width);
        break;
      }
  }
}

function overlapping(view: ChannelView, from: number, to: number): Missing[] {
  return view.gaps.filter((gap) => gap.to > from && gap.from < to);
}

function reasonFor(view: ChannelView, from: number, to: number): string {
  const told = overlapping(view, from, to).sort((a, b) => b.to - b.from - (a.to - a.from));
  return told[0]?.reason ?? "nothing came";
}

function countFor(view: ChannelView, from: number, to: number): number | null {
  const told = overlapping(view, from, to);
  if (told.length === 0 || told.some((gap) => gap.count === null)) return null;
  return told.reduce((sum, gap) => sum + gap.count!, 0);
}

/** The lowest and highest value in [from, to); NaN where there is nothing. */
export function extent(
  view: ChannelView,
  field: string,
  from: number,
  to: number,
): [number, number] {
  let least = Infinity;
  let most = -Infinity;
  for (const piece of view.pieces) {
    const column = piece.fields.indexOf(field);
    if (column < 0) continue;
    const [lo, hi] =
      piece.source instanceof SampleRing
        ? samplesExtent(piece.source, column, Math.max(from, piece.from), Math.min(to, piece.to))
        : binsExtent(piece.source, column, Math.max(from, piece.from), Math.min(to, piece.to));
    if (lo < least) least = lo;
    if (hi > most) most = hi;
  }
  return least <= most ? [least, most] : [NaN, NaN];
}

function samplesExtent(ring: SampleRing, column: number, from: number, to: number): Extent {
  let least = Infinity;
  let most = -Infinity;
  const values = ring.values[column]!;
  const end = lowerBound(ring.times, ring.length, to);
  for (let i = lowerBound(ring.times, ring.length, from); i < end; i++) {
    const value = values[i]!;
    if (value < least) least = value;
    if (value > most) most = value;
  }
  return [least, most];
}

// The bins of a span are one run in the ring, or two.
function binsExtent(ring: BinRing, column: number, from: number, to: number): Extent {
  let least = Infinity;
  let most = -Infinity;
  const lo = ring.lo[column]!;
  const hi = ring.hi[column]!;
  const end = Math.min(ring.end, Math.ceil(to / ring.width - 0.5));
  for (let bin = Math.max(ring.first, Math.ceil(from / ring.width - 0.5)); bin < end;) {
    const begin = ring.slot(bin);
    const count = Math.min(end - bin, ring.capacity - begin);
    for (let slot = begin; slot < begin + count; slot++) {
      if (lo[slot]! < least) least = lo[slot]!;
      if (hi[slot]! > most) most = hi[slot]!;
    }
    bin += count;
  }
  return [least, most];
}

type Extent = [number, number];
