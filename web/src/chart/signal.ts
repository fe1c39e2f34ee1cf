// SPDX-License-Identifier: MIT
// A signal as a chart shows it: where it comes from, how it is drawn, on which axis; and how its
// values are written. Pure.

import type { FieldInfo } from "../live";
import { COLOURS } from "./palette";
import type { Held } from "./pieces";
import { exact, number } from "./scale";

export interface Shown {
  channel: string;
  field: string;
  colour: number;
  dash: number | null; // null: by its place
  axis: number; // 0: by its unit; else what was chosen
  low: number | null; // limit lines
  high: number | null;
}

export function shown(channel: string, field: string, others: readonly Shown[]): Shown {
  const used = others.map((other) => other.colour);
  let colour = 0;
  while (
    used.filter((c) => c === colour).length > Math.min(...range(COLOURS).map((c) => count(used, c)))
  )
    colour++;
  return { channel, field, colour, dash: null, axis: 0, low: null, high: null };
}

function range(length: number): number[] {
  return Array.from({ length }, (_, i) => i);
}

function count(values: number[], value: number): number {
  return values.filter((v) => v === value).length;
}

export type Kind = "number" | "steps" | "text";

export function kindOf(info: FieldInfo | null): Kind {
  if (!info) return "number";
  if (info.symbols || info.type === "enum" || info.type === "boolean") return "steps";
  return info.type === "string" || info.type === "bytes" || info.type === "fixed"
    ? "text"
    : "number";
}

/** The names on the axis of steps: 0, 1, ... */
export function symbolsOf(info: FieldInfo | null): string[] | null {
  if (info?.symbols) return info.symbols;
  return info?.type === "boolean" ? ["false", "true"] : null;
}

export function axisKey(signal: Shown, info: FieldInfo | null): string {
  if (signal.axis > 0) return `#${signal.axis}`;
  if (kindOf(info) === "steps") return `=${signal.channel}:${signal.field}`;
  return `u${info?.unit ?? ""}`;
}

/** A value as it is read off: a bin is "lowest … highest". */
export function heldText(held: Held | null, info: FieldInfo | null): string {
  if (!held) return "–";
  const one = (value: number): string => symbolsOf(info)?.[value] ?? digits(value);
  return held.lo === held.hi ? one(held.lo) : `${one(held.lo)} … ${one(held.hi)}`;
}

/** The same, to the last digit. */
export function exactText(held: Held | null, info: FieldInfo | null): string {
  if (!held) return "";
  const one = (value: number): string => symbolsOf(info)?.[value] ?? exact(value);
  return held.lo === held.hi ? one(held.lo) : `${one(held.lo)} … ${one(held.hi)}`;
}

function digits(value: number): string {
  return number(value, 6);
}

export function latestText(value: unknown, info: FieldInfo | null): string {
  if (value === undefined || value === null) return value === null ? "null" : "–";
  if (typeof value === "number") return symbolsOf(info)?.[value] ?? digits(value);
  if (typeof value === "string" || typeof value === "boolean" || typeof value === "bigint")
    return String(value);
  const text = JSON.stringify(value, (_, item: unknown) =>
    typeof item === "bigint" ? String(item) : item,
  );
  return text.length > 80 ? `${text.slice(0, 79)}…` : text;
}
