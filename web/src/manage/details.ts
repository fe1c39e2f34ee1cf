// SPDX-License-Identifier: MIT
// All that is known of one channel.
import { openDialog } from "../dialogs";
import { h } from "../dom";
import { json } from "../rest";
import { bytes, count, duration, health, time } from "../words";
import type { Manage, ManageOptions } from "./manage";

const BYTES = /bytes/;
const TIMES = new Set(["last_arrival"]);
const APART = new Set(["name", "state", "reason", "configuration", "rejected", "latency", "file"]);

function words(key: string, value: unknown): string {
  if (value === null) return "not counted here";
  if (key === "pid") return String(value);
  if (TIMES.has(key)) return time(value);
  if (key === "receive_budget_seconds") return duration(Number(value));
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") return BYTES.test(key) ? bytes(value) : count(value);
  return String(value);
}

/** Nested maps as a.b, lists in a line. */
function flat(value: unknown, path: string, out: [string, string][]): [string, string][] {
  if (Array.isArray(value)) out.push([path, value.map(String).join(", ")]);
  else if (value !== null && typeof value === "object")
    for (const [key, one] of Object.entries(value)) flat(one, path ? `${path}.${key}` : key, out);
  else out.push([path, typeof value === "boolean" ? (value ? "yes" : "no") : String(value)]);
  return out;
}

function list(title: string, rows: [string, string][]): Node {
  return h("section", {}, h("h3", {}, title), h("dl", { class: "facts" },
    ...rows.map(([key, value]) => h("div", {}, h("dt", {}, key.replace(/_/g, " ")),
      h("dd", { class: "tabular" }, value)))));
}

export async function openDetails(options: ManageOptions, manage: Manage, name: string):
  Promise<void> {
  let channel: Record<string, unknown> & { name: string; state: string };
  try {
    channel = await json(`api/v1/channels/${encodeURIComponent(name)}`);
  } catch (error) {
    options.notify(`${name}: ${(error as Error).message}`, "bad");
    return;
  }
  const { word, mood, reason } = health(channel);
  const counters = Object.entries(channel)
    .filter(([key, value]) => !APART.has(key) && !(value === 0 && key.startsWith("send_errors_")))
    .map(([key, value]): [string, string] => [key, words(key, value)]);
  const latency = Object.entries(channel.latency ?? {})
    .map(([key, value]): [string, string] =>
      [key.replace(/_us$/, ""), key === "count" ? count(value) : `${count(value)} µs`]);
  const rejected = flat(channel.rejected ?? {}, "", []);
  const dialog = openDialog(name, "wide",
    h("p", { class: "state" }, h("span", { class: `dot ${mood}`, "aria-hidden": "true" }),
      reason ? `${word}: ${reason}` : word),
    h("div", { class: "columns" },
      list("Counters", counters),
      h("div", {},
        list("Configuration", flat(channel.configuration ?? {}, "", [])),
        ...(rejected.length ? [list("Rejected, by reason", rejected)] : []),
        ...(latency.length ? [list("Latency", latency)] : []),
        ...(channel.file ? [list("Recording now", [["file", String(channel.file)]])] : []))),
    h("div", { class: "buttons" },
      h("button", { class: "button", type: "button", onclick: () => {
        dialog.close();
        manage.go("recordings", name);
      } }, "Recordings"),
      h("button", { class: "button", type: "button", onclick: () => {
        dialog.close();
        options.show(name);
      } }, "Signals")));
}
