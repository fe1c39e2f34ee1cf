// SPDX-License-Identifier: MIT
// The one time axis of all charts: live, with an edge that moves steadily, or still (paused,
// looking back); cursor, A and B, selection. Moments are seconds from ORIGIN. Pure.

export interface Span {
  from: number;
  to: number;
}

export const LENGTH_MIN = 1e-6;
export const LENGTH_MAX = 400 * 86400;

const LAG_WINDOW_MS = 4000;
const LAG_DEAD_MS = 3000;
const BEHIND_MAX = 0.6; // seconds that the slower ones may hold up the others

/** How far what comes is behind the clock: the most of the last seconds. */
class Lag {
  private samples: { at: number; lag: number }[] = [];

  note(nowMs: number, lag: number): void {
    while (this.samples.length > 0 && this.samples[this.samples.length - 1]!.lag <= lag)
      this.samples.pop();
    this.samples.push({ at: nowMs, lag });
    while (nowMs - this.samples[0]!.at > LAG_WINDOW_MS) this.samples.shift();
    this.heard = nowMs;
  }

  heard = -Infinity;
  newest = NaN;
  get most(): number {
    return this.samples[0]?.lag ?? 0;
  }
}

export class Timeline {
  length = 60;
  still: Span | null = null;
  why: "paused" | "look" | "trigger" = "look";
  cursor: number | null = null;
  a: number | null = null;
  b: number | null = null;
  selection: Span | null = null;
  trigger: number | null = null; // when it fired
  lag = 0.1;
  private lags = new Map<string, Lag>();
  private lagKnown = false;
  private steppedMs = NaN;

  constructor(
    private readonly nowSeconds: () => number,
    private readonly changed: (what: "view" | "cursor" | "marks") => void,
  ) {}

  /** A channel's newest moment, as it came. How late it was is told by the one before, just now. */
  noteNewest(channel: string, newest: number, nowMs: number): void {
    let lag = this.lags.get(channel);
    if (!lag) this.lags.set(channel, (lag = new Lag()));
    const before = nowMs - lag.heard < LAG_DEAD_MS ? lag.newest : newest;
    lag.newest = newest;
    lag.note(nowMs, this.nowSeconds() - Math.min(before, newest));
  }

  forget(channel: string): void {
    this.lags.delete(channel);
  }

  /** Once a frame: lets the edge follow what comes, so slowly that nobody sees it. */
  step(nowMs: number): void {
    const seconds = Math.min(0.25, Math.max(0, (nowMs - this.steppedMs) / 1000)) || 0;
    this.steppedMs = nowMs;
    const alive = [...this.lags.values()].filter((lag) => nowMs - lag.heard < LAG_DEAD_MS);
    if (alive.length === 0) return;
    const least = Math.min(...alive.map((lag) => lag.most));
    // Who is further behind is drawn as it comes.
    const near = alive.map((lag) => lag.most).filter((lag) => lag < least + BEHIND_MAX);
    const target = Math.max(...near) + 0.03;
    if (!this.lagKnown || Math.abs(target - this.lag) > Math.max(3, this.length / 4)) {
      this.lag = target;
      this.lagKnown = true;
    } else if (target > this.lag) this.lag += Math.min(target - this.lag, 0.25 * seconds);
    else if (this.lag - target > 0.05) this.lag -= Math.min(this.lag - target, 0.05 * seconds);
  }

  /** Where live charts end. */
  edge(): number {
    return this.nowSeconds() - this.lag;
  }

  view(): Span {
    if (this.still) return this.still;
    const edge = this.edge();
    return { from: edge - this.length, to: edge };
  }

  goLive(): void {
    if (this.still) {
      this.still = null;
      this.trigger = null;
    }
    this.changed("view");
  }

  /** Freezes what is visible. */
  pause(): void {
    if (!this.still) this.show(this.view(), "paused");
  }

  show(span: Span, why: "paused" | "look" | "trigger" = "look"): void {
    const length = Math.min(LENGTH_MAX, Math.max(LENGTH_MIN, span.to - span.from));
    const middle = (span.from + span.to) / 2;
    this.still = { from: middle - length / 2, to: middle + length / 2 };
    if (length < (span.to - span.from) * (1 + 1e-9)) this.still.to = this.still.from + length;
    this.why = why;
    this.changed("view");
  }

  setLength(length: number): void {
    this.length = Math.min(LENGTH_MAX, Math.max(0.01, length));
    if (this.still) {
      const to = this.still.to;
      this.show({ from: to - this.length, to }, this.why);
    } else this.changed("view");
  }

  /** By a share of what is visible. Into the past from the live edge; whoever comes to the edge
   * from the past is not live by that: there is a button. */
  pan(share: number): void {
    const { from, to } = this.view();
    const by = share * (to - from);
    const edge = this.edge();
    if (!this.still && by > 0) return;
    const end = Math.min(to + by, Math.max(to, edge + 0.1 * (to - from)));
    this.show({ from: end - (to - from), to: end }, "look");
  }

  /** Around a moment. Live it changes the length of the window and stays live. */
  zoom(factor: number, around: number | null): void {
    if (!this.still) {
      this.setLength(this.length * factor);
      return;
    }
    const { from, to } = this.still;
    const centre = around ?? (from + to) / 2;
    const length = Math.min(LENGTH_MAX, Math.max(LENGTH_MIN, (to - from) * factor));
    const share = (centre - from) / (to - from);
    this.show({ from: centre - share * length, to: centre + (1 - share) * length }, "look");
    this.length = Math.max(0.01, length);
  }

  setCursor(at: number | null): void {
    if (at === this.cursor) return;
    this.cursor = at;
    this.changed("cursor");
  }

  mark(which: "a" | "b", at: number | null): void {
    this[which] = at;
    this.changed("marks");
  }

  select(span: Span | null): void {
    this.selection = span && span.to > span.from ? span : null;
    this.changed("marks");
  }
}
