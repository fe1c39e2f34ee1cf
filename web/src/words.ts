// SPDX-License-Identifier: MIT
// Numbers, times and states in words.
import type { Channel } from "./live";

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/** 12,345; "?" of what nobody counts. */
export function count(value: unknown): string {
  return typeof value === "number" ? whole.format(value) : "?";
}

/** Something a second. */
export function rate(value: unknown): string {
  if (typeof value !== "number") return "–";
  if (value > 0 && value < 10) return value.toFixed(1);
  return whole.format(value);
}

export function bytes(value: unknown): string {
  if (typeof value !== "number") return "?";
  let left = value, unit = 0;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  while (left >= 1024 && unit < units.length - 1) {
    left /= 1024;
    unit++;
  }
  return `${unit === 0 || left >= 100 ? left.toFixed(0) : left.toFixed(1)} ${units[unit]}`;
}

const two = (value: number) => String(value).padStart(2, "0");

/** As a clock on the wall here has it: 2026-11-30 21:05:33. */
export function time(value: unknown): string {
  const date = typeof value === "string" || typeof value === "number" ? new Date(value) : null;
  if (!date || Number.isNaN(date.getTime())) return "–";
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ` +
    `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

export function duration(seconds: number): string {
  if (!(seconds >= 0)) return "–";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60), hours = Math.floor(minutes / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

export type Mood = "ok" | "idle" | "warn" | "bad";

const STATES: Record<string, { word: string; mood: Mood; means: string }> = {
  running: { word: "running", mood: "ok", means: "" },
  silent: { word: "silent", mood: "idle", means: "no datagram has come for 5 s or more" },
  starting: { word: "starting", mood: "idle", means: "its relay is coming up" },
  backoff: { word: "backoff", mood: "bad", means: "its relay ended; it is started again soon" },
  stopped: { word: "stopped", mood: "bad", means: "it was stopped" },
  failed: { word: "failed", mood: "bad", means: "its relay does not come up" },
  schema_mismatch: {
    word: "schema mismatch", mood: "bad",
    means: "the last datagrams were all rejected: they do not fit the schema",
  },
  not_recording: { word: "not recording", mood: "bad", means: "writing to the disk fails" },
};

export interface Health {
  word: string;
  mood: Mood;
  reason: string; // in words; "" where all is well
}

export function health(channel: Channel): Health {
  const known = STATES[channel.state] ?? { word: channel.state, mood: "warn" as Mood, means: "" };
  const told = typeof channel.reason === "string" ? channel.reason : "";
  const mood = told !== "" && known.mood === "ok" ? "warn" : known.mood;
  return { word: known.word, mood, reason: told || known.means };
}

/** What can be lost, with what it is in words. */
export const LOSSES: { key: string; one: string; means: string }[] = [
  { key: "datagrams_dropped", one: "dropped", means: "datagrams that the kernel dropped" },
  { key: "datagrams_rejected", one: "rejected", means: "datagrams that do not fit the schema" },
  { key: "datums_unrecorded", one: "unrecorded", means: "datums that no recording has" },
  { key: "sequence_gaps", one: "missing", means: "sequence numbers that did not come" },
  { key: "send_errors", one: "not sent", means: "datagrams that could not be sent on" },
];

export interface Losses {
  total: number;
  unknown: boolean; // some of it nobody counts
  parts: { one: string; means: string; count: number | null }[]; // other than 0
}

export function losses(channel: Channel): Losses {
  const parts = LOSSES
    .filter(({ key }) => key !== "datums_unrecorded" || channel.recording === true)
    .map(({ key, one, means }) => {
      const value = channel[key];
      return { one, means, count: typeof value === "number" ? value : null };
    });
  return {
    total: parts.reduce((sum, part) => sum + (part.count ?? 0), 0),
    unknown: parts.some((part) => part.count === null),
    parts: parts.filter((part) => part.count !== 0),
  };
}

/** "12 dropped, 3 missing". */
export function lossWords(of: Losses): string {
  return of.parts.map((part) => part.count === null ? `${part.one}: not counted here`
    : `${count(part.count)} ${part.one}`).join(", ");
}

/** Losses first, then what is in trouble, then as configured. */
export function byUrgency(channels: Channel[]): Channel[] {
  const bad = (channel: Channel) => {
    const { mood } = health(channel);
    return mood === "bad" ? 2 : mood === "warn" ? 1 : 0;
  };
  return channels
    .map((channel, order) => ({ channel, order, lost: losses(channel).total }))
    .sort((a, b) => b.lost - a.lost || bad(b.channel) - bad(a.channel) || a.order - b.order)
    .map(({ channel }) => channel);
}
