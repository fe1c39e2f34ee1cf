// SPDX-License-Identifier: MIT
// What is kept of a channel while it is live, in memory that is taken once: bins (BinRing), or
// single datums where somebody looks that close (SampleRing). Times are seconds from ORIGIN. Pure.

import { binOf, toSeconds } from "./time";

/** How far apart filled bins, or datums, usually are: nine of ten of the last 256 are within. */
export class Spacing {
  private readonly last = new Float64Array(256);
  private count = 0;
  private known = 0;
  private stale = true;

  add(seconds: number): void {
    if (!(seconds > 0)) return;
    this.last[this.count++ & 255] = seconds;
    if ((this.count & 31) === 0 || this.count < 32) this.stale = true;
  }

  /** 0: not known yet. */
  get usual(): number {
    if (this.stale) {
      const used = this.last.slice(0, Math.min(this.count, 256)).sort();
      this.known = used.length < 3 ? 0 : used[Math.floor((used.length - 1) * 0.9)]!;
      this.stale = false;
    }
    return this.known;
  }

  copyFrom(other: Spacing): void {
    this.last.set(other.last);
    this.count = other.count;
    this.stale = true;
  }
}

/** Bins k in [first, end) of each field; NaN: nothing there. */
export class BinRing {
  readonly width: number; // seconds
  readonly capacity: number;
  readonly lo: Float64Array[] = [];
  readonly hi: Float64Array[] = [];
  readonly spacing = new Spacing();
  first = 0;
  end = 0;
  private lastFilled = NaN;

  constructor(
    readonly widthNs: bigint,
    fields: number,
    capacity: number,
  ) {
    this.width = Number(widthNs) / 1e9;
    this.capacity = 2 ** Math.ceil(Math.log2(Math.max(64, capacity)));
    for (let i = 0; i < fields; i++) {
      this.lo.push(new Float64Array(this.capacity).fill(NaN));
      this.hi.push(new Float64Array(this.capacity).fill(NaN));
    }
  }

  slot(bin: number): number {
    return bin - Math.floor(bin / this.capacity) * this.capacity;
  }

  /** Merges rows by minimum and maximum: a bin that is sent again has only grown, and the past and
   * what is live overlap. Returns the bins that changed, [from, to), or null. */
  merge(
    t0: bigint,
    rows: number,
    min: Float64Array[],
    max: Float64Array[],
  ): [number, number] | null {
    return this.mergeAt(binOf(t0, this.widthNs), rows, min, max);
  }

  mergeAt(
    start: number,
    rows: number,
    min: Float64Array[],
    max: Float64Array[],
  ): [number, number] | null {
    const skip = Math.max(0, this.end - this.capacity - start);
    if (skip >= rows) return null;
    this.makeRoom(start + skip, start + rows);
    const from = Math.max(start + skip, this.first);
    const to = start + rows;
    for (let f = 0; f < this.lo.length; f++) this.mergeField(f, start, from, to, min[f]!, max[f]!);
    this.noteSpacing(start, from, to, min);
    return from < to ? [from, to] : null;
  }

  private mergeField(
    f: number,
    start: number,
    from: number,
    to: number,
    min: Float64Array,
    max: Float64Array,
  ): void {
    const lo = this.lo[f]!;
    const hi = this.hi[f]!;
    for (let bin = from; bin < to; bin++) {
      const least = min[bin - start]!;
      if (least !== least) continue;
      const most = max[bin - start]!;
      const slot = this.slot(bin);
      if (!(lo[slot]! <= least)) lo[slot] = least;
      if (!(hi[slot]! >= most)) hi[slot] = most;
    }
  }

  private noteSpacing(start: number, from: number, to: number, min: Float64Array[]): void {
    for (let bin = from; bin < to; bin++) {
      let filled = false;
      for (let f = 0; f < min.length && !filled; f++) filled = !Number.isNaN(min[f]![bin - start]!);
      if (!filled || bin <= this.lastFilled) continue;
      if (!Number.isNaN(this.lastFilled)) this.spacing.add((bin - this.lastFilled) * this.width);
      this.lastFilled = bin;
    }
  }

  private makeRoom(from: number, to: number): void {
    if (
      this.first === this.end ||
      to <= this.first - this.capacity ||
      from >= this.end + this.capacity
    ) {
      for (const column of [...this.lo, ...this.hi]) column.fill(NaN);
      this.first = from;
      this.end = to;
      this.lastFilled = NaN;
    }
    for (let bin = this.end; bin < to; bin++) this.wipe(bin);
    this.end = Math.max(this.end, to);
    const oldest = this.end - this.capacity;
    for (let bin = Math.max(from, oldest); bin < this.first; bin++) this.wipe(bin);
    this.first = Math.max(oldest, Math.min(this.first, from));
  }

  private wipe(bin: number): void {
    const slot = this.slot(bin);
    for (let f = 0; f < this.lo.length; f++) {
      this.lo[f]![slot] = NaN;
      this.hi[f]![slot] = NaN;
    }
  }

  copyFrom(other: BinRing): void {
    this.lo.forEach((column, f) => column.set(other.lo[f]!));
    this.hi.forEach((column, f) => column.set(other.hi[f]!));
    this.first = other.first;
    this.end = other.end;
    this.lastFilled = other.lastFilled;
    this.spacing.copyFrom(other.spacing);
  }

  /** The end of the newest bin that holds something; NaN where there is none. */
  get newest(): number {
    return (this.lastFilled + 1) * this.width;
  }
}

/** Datums in order of time, the newest `capacity` of them. */
export class SampleRing {
  times: Float64Array;
  values: Float64Array[];
  length = 0;
  readonly spacing = new Spacing();

  constructor(
    fields: number,
    readonly capacity: number,
  ) {
    this.times = new Float64Array(2 * capacity);
    this.values = Array.from({ length: fields }, () => new Float64Array(2 * capacity));
  }

  /** Takes rows in, also late ones. Returns the span that changed, or null. */
  merge(
    t0: bigint,
    rows: number,
    seconds: Float64Array,
    values: Float64Array[],
  ): [number, number] | null {
    if (rows === 0) return null;
    const base = toSeconds(t0);
    const first = base + seconds[0]!;
    if (this.length > 0 && first <= this.times[this.length - 1]!)
      return this.weave(base, rows, seconds, values);
    for (let from = 0; from < rows; from += this.capacity)
      this.append(base, from, Math.min(rows, from + this.capacity), seconds, values);
    return [first, this.times[this.length - 1]!];
  }

  private append(
    base: number,
    from: number,
    to: number,
    seconds: Float64Array,
    values: Float64Array[],
  ): void {
    const count = to - from;
    if (this.length + count > this.times.length) {
      const keep = Math.min(this.length, this.capacity);
      this.times.copyWithin(0, this.length - keep, this.length);
      for (const column of this.values) column.copyWithin(0, this.length - keep, this.length);
      this.length = keep;
    }
    for (let i = from; i < to; i++) {
      const at = base + seconds[i]!;
      const place = this.length + i - from;
      if (place > 0) this.spacing.add(at - this.times[place - 1]!);
      this.times[place] = at;
    }
    for (let f = 0; f < this.values.length; f++)
      this.values[f]!.set(values[f]!.subarray(from, to), this.length);
    this.length += count;
  }

  // Late ones, in their order among those that are there.
  private weave(
    base: number,
    rows: number,
    seconds: Float64Array,
    values: Float64Array[],
  ): [number, number] {
    const times = seconds.subarray(0, rows).map((second) => base + second);
    this.assemble(times, values, () => true);
    return [times[0]!, times[rows - 1]!];
  }

  /** What was recorded, in order, in the place of whatever was there of the same time, but for
   * what is at or after `until`: a datum is there once, though its time may differ by who told of
   * it, and twice where it came twice. */
  replace(times: Float64Array, values: Float64Array[], until: number): [number, number] | null {
    const count = lowerBound(times, times.length, until);
    if (count === 0) return null;
    const first = times[0]!;
    const last = times[count - 1]!;
    this.assemble(times.subarray(0, count), values, (at) => at < first || at > last);
    return [first, last];
  }

  private assemble(
    times: Float64Array,
    values: Float64Array[],
    stays: (at: number) => boolean,
  ): void {
    const old = {
      times: this.times.slice(0, this.length),
      values: this.values.map((column) => column.slice(0, this.length)),
    };
    const order: [number, number][] = []; // time, place: >= 0 in what came, else ~place in the old
    old.times.forEach((at, i) => stays(at) && order.push([at, ~i]));
    times.forEach((at, i) => order.push([at, i]));
    order.sort((a, b) => a[0] - b[0]);
    const from = Math.max(0, order.length - this.capacity);
    this.length = order.length - from;
    for (let i = from; i < order.length; i++) {
      const [at, place] = order[i]!;
      this.times[i - from] = at;
      for (let f = 0; f < this.values.length; f++)
        this.values[f]![i - from] = place >= 0 ? values[f]![place]! : old.values[f]![~place]!;
    }
  }

  copyFrom(other: SampleRing): void {
    this.times.set(other.times);
    this.values.forEach((column, f) => column.set(other.values[f]!));
    this.length = other.length;
    this.spacing.copyFrom(other.spacing);
  }

  get newest(): number {
    return this.length > 0 ? this.times[this.length - 1]! : NaN;
  }
}

/** The first place in [0, length) whose time is at or after `at`. */
export function lowerBound(times: Float64Array, length: number, at: number): number {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (times[middle]! < at) low = middle + 1;
    else high = middle;
  }
  return low;
}
