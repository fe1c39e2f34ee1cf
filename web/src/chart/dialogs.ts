// SPDX-License-Identifier: MIT
// What is asked before something is saved, pinned, or waited for.

import { h } from "../dom";
import type { StripBoard } from "./board";
import { kindOf } from "./signal";
import { clock, day, duration, rfc3339, toNs } from "./time";
import type { Edge } from "./trigger";
import type { Span } from "./timeline";

const FORMATS: [string, string][] = [
  ["csv", "CSV: spreadsheets"],
  ["avro", "Avro: rows, as recorded"],
  ["h5", "HDF5: MATLAB, Python, netCDF-4"],
  ["mf4", "MDF4: CANape, INCA, asammdf"],
  ["mcap", "MCAP: Foxglove, Lichtblick, PlotJuggler"],
];

function words(span: Span): string {
  const length = duration(span.to - span.from);
  return `${day(span.from)} ${clock(span.from, 3)} – ${clock(span.to, 3)} (${length})`;
}

function chosen(board: StripBoard): Span {
  return board.timeline.selection ?? board.timeline.view();
}

/** What is asked for, exactly what is visible: the span to the nanosecond, those fields. */
export function exportPath(format: string, channel: string, fields: string[], span: Span): string {
  const query = new URLSearchParams({
    format,
    channels: channel,
    fields: fields.join(","),
    from: rfc3339(toNs(span.from)),
    to: rfc3339(toNs(span.to)),
  });
  return `api/v1/export?${query}`;
}

function frame(title: string, ...content: HTMLElement[]): HTMLElement {
  return h(
    "form",
    { class: "chart-menu", method: "dialog", "aria-label": title },
    h("div", { class: "chart-menu-title" }, title),
    ...content,
  );
}

function ending(words: string, close: () => void): HTMLElement {
  return h(
    "div",
    { class: "chart-menu-end" },
    h("button", { type: "button", class: "button quiet", onclick: close }, "Cancel"),
    h("button", { type: "submit", class: "button primary" }, words),
  );
}

export function saveDialog(board: StripBoard, close: () => void): HTMLElement {
  const span = chosen(board); // as it was when this was asked for: live moves on
  const format = h(
    "select",
    { name: "format" },
    ...FORMATS.map(([value, name]) => h("option", { value }, name)),
  );
  const all = h("input", { type: "checkbox", name: "all" });
  format.addEventListener("change", () => {
    all.disabled = format.value === "avro"; // which has no parts of datums
    if (all.disabled) all.checked = true;
  });
  const channels = board.visibleFields();
  const form = frame(
    "Save what is " + (board.timeline.selection ? "selected" : "visible"),
    h("p", { class: "chart-menu-doc tabular" }, words(span)),
    h(
      "p",
      { class: "chart-menu-doc" },
      channels.map(({ channel, fields }) => `${channel}: ${fields.join(", ")}`).join("; ") ||
        "No signals are shown.",
    ),
    h("label", {}, "Format", format),
    h("label", { class: "chart-check" }, all, "all fields of the channels"),
    channels.length > 1
      ? h("p", { class: "chart-menu-doc" }, "One file for each channel.")
      : h("span"),
    ending("Save", close),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    close();
    void saveAll(board, format.value, all.checked, span);
  });
  return form;
}

async function saveAll(board: StripBoard, format: string, all: boolean, span: Span): Promise<void> {
  const channels = board.visibleFields();
  if (
    !(await board.recorded(
      channels.map(({ channel }) => channel),
      span.to,
    ))
  )
    board.options.notify("The newest datums are not on the disk yet: the file lacks them.", "bad");
  for (const { channel, fields } of channels) {
    const path = exportPath(format, channel, fields, span);
    const query = all ? path.replace(/&fields=[^&]*/, "") : path;
    try {
      await board.options.download(query);
    } catch (error) {
      board.options.notify(`${channel} was not saved: ${(error as Error).message}`, "bad");
    }
  }
}

export function pinDialog(board: StripBoard, close: () => void): HTMLElement {
  const span = chosen(board);
  const channels = board.visibleFields().map(({ channel }) => channel);
  const name = h("input", {
    name: "name",
    required: true,
    pattern: "[a-z0-9][a-z0-9_.\\-]{0,63}",
    title: "small letters, digits, - _ .",
    value: "",
    autofocus: true,
  });
  const form = frame(
    "Keep it from retention",
    h("p", { class: "chart-menu-doc tabular" }, words(span)),
    h("p", { class: "chart-menu-doc" }, channels.join(", ")),
    h("label", {}, "Name of the pin", name),
    ending("Pin", close),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    close();
    void pin(board, name.value, span, channels);
  });
  return form;
}

async function pin(board: StripBoard, name: string, span: Span, channels: string[]): Promise<void> {
  try {
    const answer = await board.options.rest("api/v1/pins", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({
        name,
        channels,
        from: rfc3339(toNs(span.from)),
        to: rfc3339(toNs(span.to)),
      }),
    });
    const said = (await answer.json()) as { pins?: unknown[]; failed?: string[] };
    if (said.failed?.length) board.options.notify(said.failed.join("; "), "bad");
    else board.options.notify(`Pinned as ${name}.`, "info");
  } catch (error) {
    board.options.notify(`It was not pinned: ${(error as Error).message}`, "bad");
  }
}

export function triggerDialog(board: StripBoard, close: () => void): HTMLElement {
  const signals = board.shown().filter((signal) => kindOf(board.info(signal)) !== "text");
  const signal = h(
    "select",
    { name: "signal" },
    ...signals.map(({ channel, field }, i) =>
      h("option", { value: String(i) }, `${channel}: ${field}`),
    ),
  );
  const edge = h(
    "select",
    { name: "edge" },
    h("option", { value: "rising" }, "rises through"),
    h("option", { value: "falling" }, "falls through"),
    h("option", { value: "either" }, "crosses"),
  );
  const level = h("input", {
    name: "level",
    type: "number",
    step: "any",
    required: true,
    class: "chart-number",
  });
  const place = h(
    "select",
    { name: "place" },
    h("option", { value: "0.1" }, "left"),
    h("option", { value: "0.5", selected: true }, "in the middle"),
    h("option", { value: "0.9" }, "right"),
  );
  const form = frame(
    "Freeze a window when",
    h("label", {}, "Signal", signal),
    h("label", {}, "Edge", edge),
    h("label", {}, "Level", level),
    h("label", {}, "The moment stands", place),
    ending("Arm", close),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const rule = signals[Number(signal.value)];
    close();
    if (rule)
      board.arm({
        ...rule,
        level: level.valueAsNumber,
        edge: edge.value as Edge,
        place: Number(place.value),
      });
  });
  return form;
}
