// SPDX-License-Identifier: MIT
// Ranges of y axes. Pure.

export interface Range {
  min: number;
  max: number;
}

function niceStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(least));
  for (const digit of [1, 2, 5]) if (power * digit >= least * (1 - 1e-9)) return power * digit;
  return power * 10;
}

/** A range with round ends around [lo, hi], with a little air. */
export function niceRange(lo: number, hi: number): Range {
  if (!(lo <= hi)) return { min: 0, max: 1 };
  let span = hi - lo;
  if (!(span > Math.max(Math.abs(lo), Math.abs(hi)) * 1e-12)) span = Math.abs(lo) * 0.2 || 2;
  const middle = (lo + hi) / 2;
  const half = span * 0.55;
  const step = niceStep(span / 8);
  if (!Number.isFinite(step) || step === 0) return { min: lo - 1, max: hi + 1 };
  const min = Math.floor((middle - half) / step) * step;
  const max = Math.ceil((middle + half) / step) * step;
  if (lo >= 0 && min < 0 && hi > 0) return { min: 0, max };
  if (hi <= 0 && max > 0 && lo < 0) return { min, max: 0 };
  return { min, max };
}

/** Follows what is visible: grows at once, and shrinks only when it has been too wide for a while,
 * so that it changes seldom: each change paints a chart anew. */
export class AutoRange {
  range: Range | null = null;
  private wideSince = NaN;

  /** True: the range changed. `settle`: no waiting (paused, zoomed). */
  update(lo: number, hi: number, nowMs: number, settle = false): boolean {
    if (!(lo <= hi)) return false;
    const wanted = niceRange(lo, hi);
    const now = this.range;
    if (now && wanted.min === now.min && wanted.max === now.max) {
      this.wideSince = NaN;
      return false;
    }
    if (now && lo >= now.min && hi <= now.max && !settle) {
      const full = (wanted.max - wanted.min) / (now.max - now.min);
      if (full > 0.6) {
        this.wideSince = NaN;
        return false;
      }
      if (Number.isNaN(this.wideSince)) this.wideSince = nowMs;
      if (nowMs - this.wideSince < 1500) return false;
    }
    this.wideSince = NaN;
    // Growing: what was seen stays, so that a slow rise does not change it at each step.
    this.range =
      now && !settle && (lo < now.min || hi > now.max)
        ? niceRange(Math.min(lo, now.min), Math.max(hi, now.max))
        : wanted;
    if (now && this.range.min === now.min && this.range.max === now.max) return false;
    return true;
  }

  clear(): void {
    this.range = null;
    this.wideSince = NaN;
  }
}

/** A value in as many digits as are wanted, without an exponent where it is short without. */
export function number(value: number, digits = 5): string {
  if (Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value < 0 ? "−∞" : "∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e15) return minus(String(value));
  if (size >= 1e7 || size < 1e-4)
    return minus(value.toExponential(digits - 1).replace(/\.?0+e/, "e"));
  // Below 1 the number of decimals stays, so that what changes all the time does not jump.
  const decimals = digits - 1 - Math.floor(Math.log10(size));
  return minus(value.toFixed(Math.max(0, size < 0.01 ? decimals : Math.min(digits - 1, decimals))));
}

function minus(text: string): string {
  return text.replace(/^-/, "−");
}

/** All of it: what was recorded, to the last digit that a double has. */
export function exact(value: number): string {
  return Number.isNaN(value) ? "NaN" : String(value);
}
