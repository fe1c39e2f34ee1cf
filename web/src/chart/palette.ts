// SPDX-License-Identifier: MIT
// What tells signals apart: ten colours of the page's tokens, and dashes, for who sees no colours
// and for print. A dash is cut in time, not along the line, so that it scrolls with the data, and
// never where the line is steep: it hides no peak. Pure, but for the reading of tokens.

export const COLOURS = 10;

/** Pixels on, off, on, off. */
export const DASHES: readonly (readonly number[])[] = [[], [9, 4], [3, 3], [12, 3, 3, 3]];
export const DASH_NAMES = ["solid", "dashed", "dotted", "dash-dot"];

/** `always`: dashes from the second signal on; else when the colours are used up. */
export function dashOf(place: number, always: boolean): number {
  return (always ? place : Math.floor(place / COLOURS)) % DASHES.length;
}

/** Whether a dash is on at this pixel, and how many pixels that lasts. */
export function dashAt(dash: readonly number[], pixel: number): { on: boolean; left: number } {
  let period = 0;
  for (const length of dash) period += length;
  if (period === 0) return { on: true, left: Infinity };
  let at = pixel - Math.floor(pixel / period) * period;
  for (let i = 0; i < dash.length; i++) {
    if (at < dash[i]!) return { on: i % 2 === 0, left: dash[i]! - at };
    at -= dash[i]!;
  }
  return { on: true, left: 1e-3 };
}

export interface Ink {
  surface: string;
  text: string;
  text2: string;
  text3: string;
  grid: string; // lets what is under it be seen: the grid is above the signals
  accent: string;
  warn: string;
  bad: string;
  series: string[];
  font: string;
}

export function readInk(element: Element): Ink {
  const style = getComputedStyle(element);
  const token = (name: string, other: string): string =>
    style.getPropertyValue(name).trim() || other;
  return {
    surface: token("--surface", "#ffffff"),
    text: token("--text", "#111111"),
    text2: token("--text-2", "#555555"),
    text3: token("--text-3", "#888888"),
    grid: `color-mix(in srgb, ${token("--text-3", "#888888")} 26%, transparent)`,
    accent: token("--accent", "#0060df"),
    warn: token("--warn", "#b06000"),
    bad: token("--bad", "#c01020"),
    series: Array.from({ length: COLOURS }, (_, i) => token(`--series-${i + 1}`, "#0060df")),
    font: token("--font", "system-ui, sans-serif"),
  };
}
