// SPDX-License-Identifier: MIT
// A view as words of an address, readable where it can be: c=engine:speed,engine:rpm~h7000&w=60s,
// or from and to. What is strange is ignored. Pure.

import { duration, readDuration, rfc3339, toNs, toSeconds } from "./time";
import type { Shown } from "./signal";
import { COLOURS, DASHES } from "./palette";
import type { Span } from "./timeline";

export interface BoardView {
  charts: { signals: Shown[]; ranges: { key: string; min: number; max: number }[] }[];
  length: number;
  span: Span | null; // null: live
  a: number | null;
  b: number | null;
  selection: Span | null;
  columns: number;
  stats: boolean;
  dashes: boolean;
  utc: boolean;
}

const CHANNEL = /^[a-z0-9][a-z0-9_.-]{0,63}$/;
const FIELD = /^[A-Za-z_][A-Za-z0-9_.:[\]]{0,254}$/; // ":": a branch of a union
const CHARTS_MAX = 200;
const SIGNALS_MAX = 64;

function moment(at: number): string {
  return rfc3339(toNs(at)).replace(/\.?0+Z$/, "Z");
}

/** RFC 3339 in UTC; null where it is none. */
export function readMoment(text: string | null): number | null {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z$/.exec(text ?? "");
  const ms = match ? Date.parse(`${match[1]}Z`) : NaN;
  if (!match || Number.isNaN(ms)) return null;
  return toSeconds(BigInt(ms) * 1_000_000n + BigInt((match[2] ?? "").padEnd(9, "0")));
}

export function writeView(view: BoardView): URLSearchParams {
  const params = new URLSearchParams();
  view.charts.forEach((chart, i) => {
    params.append("c", chart.signals.map(writeSignal).join(","));
    for (const { key, min, max } of chart.ranges) params.append("y", `${i}:${min}:${max}:${key}`);
  });
  if (view.span) {
    params.set("from", moment(view.span.from));
    params.set("to", moment(view.span.to));
  }
  params.set("window", duration(view.length).replaceAll(" ", "").replace("µ", "u"));
  if (readDuration(params.get("window")!) === null)
    params.set("window", `${Number(view.length.toPrecision(6))}s`);
  if (view.a !== null) params.set("a", moment(view.a));
  if (view.b !== null) params.set("b", moment(view.b));
  if (view.selection)
    params.set("sel", `${moment(view.selection.from)}/${moment(view.selection.to)}`);
  if (view.columns > 0) params.set("columns", String(view.columns));
  if (view.stats) params.set("stats", "1");
  if (view.dashes) params.set("dashes", "1");
  if (view.utc) params.set("utc", "1");
  return params;
}

function writeSignal(signal: Shown, place: number): string {
  let text = `${signal.channel}:${signal.field}`;
  if (signal.colour !== place % COLOURS) text += `~c${signal.colour}`;
  if (signal.dash !== null) text += `~d${signal.dash}`;
  if (signal.axis > 0) text += `~a${signal.axis}`;
  if (signal.high !== null) text += `~h${signal.high}`;
  if (signal.low !== null) text += `~l${signal.low}`;
  return text;
}

export function readView(params: URLSearchParams): BoardView {
  const view: BoardView = {
    charts: [],
    length: 60,
    span: null,
    a: readMoment(params.get("a")),
    b: readMoment(params.get("b")),
    selection: null,
    columns: whole(params.get("columns"), 8),
    stats: params.get("stats") === "1",
    dashes: params.get("dashes") === "1",
    utc: params.get("utc") === "1",
  };
  for (const text of params.getAll("c").slice(0, CHARTS_MAX)) {
    const signals = text
      .split(",")
      .slice(0, SIGNALS_MAX)
      .map(readSignal)
      .filter((s): s is Shown => s !== null);
    if (signals.length > 0 || text === "") view.charts.push({ signals, ranges: [] });
  }
  for (const text of params.getAll("y")) readRange(view, text);
  view.length = readDuration(params.get("window") ?? "") ?? 60;
  const from = readMoment(params.get("from"));
  const to = readMoment(params.get("to"));
  if (from !== null && to !== null && to > from) {
    view.span = { from, to };
    if (!params.has("window")) view.length = to - from;
  }
  const [first, last] = (params.get("sel") ?? "").split("/").map(readMoment);
  if (first != null && last != null && last > first) view.selection = { from: first, to: last };
  return view;
}

function readSignal(text: string, place: number): Shown | null {
  const [name, ...options] = text.split("~");
  const colon = name!.indexOf(":");
  const channel = name!.slice(0, Math.max(0, colon));
  const field = name!.slice(colon + 1);
  if (!CHANNEL.test(channel) || !FIELD.test(field)) return null;
  const signal: Shown = {
    channel,
    field,
    colour: place % COLOURS,
    dash: null,
    axis: 0,
    low: null,
    high: null,
  };
  for (const option of options) {
    const value = option.length > 1 ? Number(option.slice(1)) : NaN;
    if (!Number.isFinite(value)) continue;
    if (option[0] === "c") signal.colour = whole(option.slice(1), COLOURS - 1);
    else if (option[0] === "d") signal.dash = whole(option.slice(1), DASHES.length - 1);
    else if (option[0] === "a") signal.axis = whole(option.slice(1), 4);
    else if (option[0] === "h") signal.high = value;
    else if (option[0] === "l") signal.low = value;
  }
  return signal;
}

function readRange(view: BoardView, text: string): void {
  const match = /^(\d+):([^:]+):([^:]+):(.*)$/s.exec(text);
  const chart = match ? view.charts[Number(match[1])] : undefined;
  const min = Number(match?.[2]);
  const max = Number(match?.[3]);
  if (chart && min < max) chart.ranges.push({ key: match![4]!, min, max });
}

function whole(text: string | null, most: number): number {
  const value = Number(text);
  return Number.isInteger(value) && value >= 0 && value <= most ? value : 0;
}
