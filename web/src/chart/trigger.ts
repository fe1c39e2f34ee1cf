// SPDX-License-Identifier: MIT
// A trigger as an oscilloscope has it: a signal, a level, an edge. Pure.

export type Edge = "rising" | "falling" | "either";

export interface TriggerRule {
  channel: string;
  field: string;
  level: number;
  edge: Edge;
  place: number; // where in the window the moment is to stand, 0 (left) to 1
}

export class Trigger {
  fired = NaN; // when, in seconds from ORIGIN
  private above: boolean | null = null;

  constructor(readonly rule: TriggerRule) {}

  /** Looks at what came next, a bin or a datum (lo = hi) at `at`; true when it fires, once. Inside
   * a bin the order is unknown: a bin that holds both sides of the level holds an edge. */
  see(at: number, lo: number, hi: number): boolean {
    if (!(lo <= hi) || !Number.isNaN(this.fired)) return false;
    const { level, edge } = this.rule;
    const was = this.above;
    const both = lo < level && hi >= level;
    this.above = both ? null : lo >= level;
    const rises = both || (was === false && lo >= level);
    const falls = both || (was === true && hi < level);
    if (was === null && !both) return false;
    if ((edge !== "falling" && rises) || (edge !== "rising" && falls)) {
      this.fired = at;
      return true;
    }
    return false;
  }
}
