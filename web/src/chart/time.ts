// SPDX-License-Identifier: MIT
// Time on the axis. Nanoseconds since 1970 have no place in a double, so charts count seconds from
// ORIGIN, a moment near the page's opening: to the nanosecond for weeks around it. Every width of a
// bin divides ORIGIN, so bins counted from it are those of absolute time. Pure.

const SECOND_NS = 1_000_000_000n;
const GRID_NS = 100_000n * SECOND_NS;

export const ORIGIN: bigint = ((BigInt(Date.now()) * 1_000_000n) / GRID_NS) * GRID_NS;

export function toSeconds(ns: bigint): number {
  const from = ns - ORIGIN;
  const whole = from / SECOND_NS;
  return Number(whole) + Number(from - whole * SECOND_NS) / 1e9;
}

export function toNs(seconds: number): bigint {
  const whole = Math.floor(seconds);
  return ORIGIN + BigInt(whole) * SECOND_NS + BigInt(Math.round((seconds - whole) * 1e9));
}

/** Which bin, counted from ORIGIN, holds the moment. */
export function binOf(ns: bigint, widthNs: bigint): number {
  const from = ns - ORIGIN;
  const bin = from / widthNs;
  return Number(from < 0n && bin * widthNs !== from ? bin - 1n : bin);
}

export const BIN_NS_MIN = 1_000_000;
export const BIN_NS_MAX = 2_000_000_000_000;

/** The widest bin of the series 1, 2, 5 times a power of ten that a pixel holds, in ns. */
export function binNsFor(pixelSeconds: number): number {
  const pixelNs = pixelSeconds * 1e9 * (1 + 1e-9);
  let best = BIN_NS_MIN;
  for (let power = BIN_NS_MIN; power <= BIN_NS_MAX; power *= 10)
    for (const digit of [1, 2, 5])
      if (power * digit <= pixelNs && power * digit <= BIN_NS_MAX) best = power * digit;
  return best;
}

// ---- labels ----

export type Zone = "local" | "utc";
let zone: Zone = "local";
export function setZone(to: Zone): void {
  zone = to;
}
export function getZone(): Zone {
  return zone;
}

function dateOf(seconds: number): Date {
  return new Date(Number(ORIGIN / 1_000_000n) + Math.floor(seconds * 1000 + 1e-6));
}

function offsetSeconds(seconds: number): number {
  return zone === "utc" ? 0 : -dateOf(seconds).getTimezoneOffset() * 60;
}

/** "UTC", "UTC+1", "UTC-3:30". */
export function zoneName(seconds: number): string {
  const minutes = Math.round(offsetSeconds(seconds) / 60);
  if (minutes === 0) return "UTC";
  const size = Math.abs(minutes);
  const rest = size % 60;
  return `UTC${minutes < 0 ? "-" : "+"}${Math.floor(size / 60)}${rest ? `:${two(rest)}` : ""}`;
}

function two(value: number): string {
  return value < 10 ? `0${value}` : `${value}`;
}

interface Parts {
  year: number;
  month: number;
  day: number;
  hour: number;
  minute: number;
  second: number;
  ns: number;
}

function partsOf(seconds: number): Parts {
  const ns = toNs(seconds + offsetSeconds(seconds));
  const ms = ns / 1_000_000n;
  const date = new Date(Number(ms));
  return {
    year: date.getUTCFullYear(),
    month: date.getUTCMonth() + 1,
    day: date.getUTCDate(),
    hour: date.getUTCHours(),
    minute: date.getUTCMinutes(),
    second: date.getUTCSeconds(),
    ns: Number(ns % SECOND_NS),
  };
}

/** "12:04:05.250", with so many digits of the second. */
export function clock(seconds: number, digits: number): string {
  const half = 0.5 * 10 ** -digits; // rounds, where cutting off would show 0.999 for 1
  const p = partsOf(digits >= 9 ? seconds : seconds + half);
  const text = `${two(p.hour)}:${two(p.minute)}:${two(p.second)}`;
  if (digits <= 0) return text;
  return `${text}.${String(p.ns).padStart(9, "0").slice(0, digits)}`;
}

/** "2026-11-30". */
export function day(seconds: number): string {
  const p = partsOf(seconds);
  return `${p.year}-${two(p.month)}-${two(p.day)}`;
}

/** How many digits of a second tell two pixels apart. */
export function digitsFor(stepSeconds: number): number {
  return Math.max(0, Math.min(9, Math.ceil(-Math.log10(stepSeconds) - 1e-9)));
}

const UNITS: [number, string][] = [
  [86400, "d"],
  [3600, "h"],
  [60, "min"],
  [1, "s"],
  [1e-3, "ms"],
  [1e-6, "µs"],
  [1e-9, "ns"],
];

/** A length of time for people, of three or four digits: "1 min 30 s", "12.5 ms". */
export function duration(seconds: number): string {
  const size = Math.abs(seconds);
  const sign = seconds < 0 ? "−" : "";
  if (size === 0) return "0 s";
  if (size >= 60) {
    const at = UNITS.findIndex(([unit]) => size >= unit);
    const [unit, name] = UNITS[at]!;
    const [next, nextName] = UNITS[at + 1]!;
    let whole = Math.floor(size / unit);
    let rest = Math.round((size - whole * unit) / next);
    if (rest * next >= unit) {
      whole += 1;
      rest = 0;
    }
    return `${sign}${whole} ${name}${rest ? ` ${rest} ${nextName}` : ""}`;
  }
  const [unit, name] = UNITS.find(([u]) => size >= u * (1 - 1e-9)) ?? UNITS[UNITS.length - 1]!;
  return `${sign}${Number((size / unit).toPrecision(4))} ${name}`;
}

/** Reads "250ms", "10s", "5min", "2h", "1d", "90": seconds; null where it is no length. */
export function readDuration(text: string): number | null {
  const match = /^\s*(\d+(?:\.\d+)?)\s*(ns|us|µs|ms|s|min|m|h|d)?\s*$/.exec(text);
  if (!match) return null;
  const unit = { us: "µs", m: "min" }[match[2] ?? ""] ?? match[2] ?? "s";
  const seconds = Number(match[1]) * (UNITS.find(([, name]) => name === unit)?.[0] ?? 1);
  return seconds > 0 && Number.isFinite(seconds) ? seconds : null;
}

/** As the gateway takes a moment: RFC 3339, UTC, to the nanosecond. */
export function rfc3339(ns: bigint): string {
  const ms = ns / 1_000_000n;
  const whole = new Date(Number(ms)).toISOString().slice(0, 19);
  return `${whole}.${String(ns % SECOND_NS).padStart(9, "0")}Z`;
}

const STEPS = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800,
  604800, 1209600, 2592000, 7776000, 31536000,
];

/** The step between labels, so that there are at most `labels` in `span` seconds. */
export function timeStep(span: number, labels: number): number {
  const least = span / Math.max(1, labels);
  if (least <= 1) {
    const power = 10 ** Math.floor(Math.log10(least));
    for (const digit of [1, 2, 5, 10])
      if (power * digit >= least * (1 - 1e-9)) return power * digit;
  }
  return STEPS.find((step) => step >= least) ?? 31536000 * Math.ceil(least / 31536000);
}

/** Where labels go in [from, to]: multiples of the step in the zone's time. */
export function timeTicks(from: number, to: number, step: number): number[] {
  const shift = offsetSeconds(from) + Number((ORIGIN / SECOND_NS) % 604800n);
  const ticks: number[] = [];
  for (let k = Math.ceil((from + shift) / step - 1e-9); ticks.length < 200; k++) {
    const at = k * step - shift;
    if (at > to + step * 1e-9) break;
    ticks.push(at);
  }
  return ticks;
}

export function tickLabel(at: number, step: number): string {
  if (step >= 86400) return day(at).slice(5);
  if (step >= 60) return clock(at, 0).slice(0, 5);
  if (step >= 1) return clock(at, 0);
  return clock(at, digitsFor(step)).slice(6);
}
