// SPDX-License-Identifier: MIT
// What is missing in a channel, and why: as the gateway told it, in order of time. Pure.

export interface Missing {
  from: number; // seconds from ORIGIN
  to: number;
  reason: string;
  count: number | null; // datums; null: nobody knows
}

const GAPS_MAX = 4096;
const OVERLAPS_MAX = 16;

export class GapList {
  list: Missing[] = [];

  /** One that is told again (it has grown, or it was in the history too) counts once. */
  add(gap: Missing): void {
    if (!(gap.to >= gap.from)) return;
    const same = this.list.find(
      (g) =>
        g.reason === gap.reason &&
        g.from <= gap.to &&
        gap.from <= g.to &&
        (g.from === gap.from || g.to === gap.to),
    );
    if (same) {
      same.from = Math.min(same.from, gap.from);
      same.to = Math.max(same.to, gap.to);
      same.count =
        same.count === null || gap.count === null ? null : Math.max(same.count, gap.count);
      return;
    }
    let at = this.list.length;
    while (at > 0 && this.list[at - 1]!.from > gap.from) at--;
    this.list.splice(at, 0, { ...gap });
    if (this.list.length > GAPS_MAX) this.list.shift();
  }

  within(from: number, to: number): Missing[] {
    return this.list.filter((gap) => gap.to >= from && gap.from <= to);
  }
}

/** Whether no line may be drawn from `a` to `b`, two moments with something and nothing between:
 * because three times the usual spacing passed, or because most of it is known to be missing.
 * `gaps` are in order of their beginnings, and hardly overlap. */
export function parted(a: number, b: number, usual: number, gaps: readonly Missing[]): boolean {
  const span = b - a;
  if (usual > 0 && span > 3.001 * usual) return true;
  let low = 0;
  let high = gaps.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (gaps[middle]!.from <= b) low = middle + 1;
    else high = middle;
  }
  for (let i = low - 1; i >= 0 && i >= low - OVERLAPS_MAX; i--)
    if (Math.min(gaps[i]!.to, b) - Math.max(gaps[i]!.from, a) > span / 2) return true;
  return false;
}
