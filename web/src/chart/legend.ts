// SPDX-License-Identifier: MIT
// The signals of a chart in words: name, value (the latest, or what held at the cursor), the values
// at A and B and their difference, statistics of what is visible; and a menu for each.

import type { FieldInfo } from "../live";
import { h, icon, setAttribute } from "../dom";
import { COLOURS, DASHES, DASH_NAMES } from "./palette";
import type { Held, Statistics } from "./pieces";
import { number } from "./scale";
import { heldText, kindOf, type Shown } from "./signal";

export interface LegendRow {
  signal: Shown;
  info: FieldInfo | null;
  colour: string;
  dash: number;
  name: string;
  value: string;
  a: Held | null;
  b: Held | null;
  statistics: Statistics | null;
}

export interface LegendUse {
  menu(signal: Shown, button: HTMLElement): void;
}

const SVG = "http://www.w3.org/2000/svg";

function swatch(): SVGSVGElement {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 22 8");
  svg.setAttribute("class", "chart-swatch");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("d", "M0 4H22");
  line.setAttribute("stroke-width", "2.5");
  svg.append(line);
  return svg;
}

/** A row as it stands, so that nothing is asked of the page to know what has changed. */
class Row {
  readonly element = h("tr");
  private readonly line: SVGElement;
  private readonly name = h("span", { class: "chart-name" });
  private readonly button: HTMLButtonElement;
  private cells: HTMLElement[] = [];
  private texts: string[] = [];
  private described = "";
  row: LegendRow;

  constructor(row: LegendRow, use: LegendUse) {
    this.row = row;
    const mark = swatch();
    this.line = mark.firstElementChild as SVGElement;
    this.button = h(
      "button",
      {
        type: "button",
        class: "chart-signal",
        "aria-haspopup": "dialog",
        onclick: () => use.menu(this.row.signal, this.button),
      },
      mark,
      this.name,
    );
    this.element.append(h("th", { scope: "row" }, this.button));
  }

  update(row: LegendRow, marks: boolean, stats: boolean): void {
    this.row = row;
    this.describe(row);
    const words = wordsOf(row, marks, stats);
    while (this.cells.length > words.length) this.cells.pop()!.parentElement!.remove();
    while (this.cells.length < words.length) {
      const cell = h("span");
      this.cells.push(cell);
      this.element.append(h("td", { class: "tabular" }, cell));
    }
    words.forEach((text, i) => {
      if (this.texts[i] !== text) this.cells[i]!.textContent = text;
    });
    this.texts = words;
  }

  private describe(row: LegendRow): void {
    const title = [`${row.signal.channel}: ${row.signal.field}`, row.info?.doc, row.info?.type];
    const described = [kindOf(row.info), row.name, row.colour, row.dash, ...title].join("\n");
    if (described === this.described) return;
    this.described = described;
    const dashes = DASHES[row.dash]!.map((n) => n / 1.5).join(" ");
    setAttribute(this.line, "stroke", kindOf(row.info) === "text" ? "none" : row.colour);
    setAttribute(this.line, "stroke-dasharray", dashes || null);
    this.name.textContent = row.name;
    this.button.title = title.filter(Boolean).join("\n");
  }
}

function wordsOf(row: LegendRow, marks: boolean, stats: boolean): string[] {
  const unit = row.info?.unit ?? "";
  const words = [
    unit && row.value !== "–" && kindOf(row.info) === "number" ? `${row.value} ${unit}` : row.value,
  ];
  if (marks)
    words.push(heldText(row.a, row.info), heldText(row.b, row.info), difference(row.a, row.b));
  const s = row.statistics;
  if (stats && s) {
    words.push(number(s.min, 6), number(s.max, 6), number(s.mean, 6));
    words.push(`${s.count} ${s.bins ? "bins" : "datums"}`);
  }
  return words;
}

export class Legend {
  readonly element: HTMLTableElement;
  private readonly head = h("tr");
  private readonly body = h("tbody");
  private columns = "";
  private names = "";
  private rows: Row[] = [];

  constructor(private readonly use: LegendUse) {
    this.element = h("table", { class: "chart-legend" }, h("thead", {}, this.head), this.body);
  }

  update(rows: LegendRow[], cursor: boolean, marks: boolean, stats: boolean): void {
    this.setHead(cursor, marks, stats);
    const names = rows.map((row) => `${row.signal.channel}:${row.signal.field}`).join("|");
    if (names !== this.names) {
      this.names = names;
      this.rows = rows.map((row) => new Row(row, this.use));
      this.body.replaceChildren(...this.rows.map((row) => row.element));
    }
    rows.forEach((row, i) => this.rows[i]!.update(row, marks, stats));
  }

  private setHead(cursor: boolean, marks: boolean, stats: boolean): void {
    const names = ["Signal", cursor ? "At cursor" : "Latest"];
    if (marks) names.push("A", "B", "B − A");
    if (stats) names.push("Min", "Max", "Mean", "Of");
    const columns = names.join("|");
    if (columns === this.columns) return;
    this.columns = columns;
    this.head.replaceChildren(...names.map((name) => h("th", { scope: "col" }, name)));
    this.element.classList.toggle("wide", names.length > 2);
  }
}

/** Of bins: from the middle of one to the middle of the other. */
function difference(a: Held | null, b: Held | null): string {
  if (!a || !b) return "–";
  const text = number((b.lo + b.hi) / 2 - (a.lo + a.hi) / 2, 6);
  return a.lo !== a.hi || b.lo !== b.hi ? `≈ ${text}` : text;
}

export interface MenuUse {
  changed(): void; // colour, dash, limits, axis
  remove(): void;
  close(): void;
}

/** The menu of a signal: how it is drawn, its axis, its limits. */
export function signalMenu(
  signal: Shown,
  info: FieldInfo | null,
  ink: readonly string[],
  use: MenuUse,
): HTMLElement {
  const limit = (which: "low" | "high", title: string): HTMLElement => {
    const input = h("input", {
      type: "number",
      step: "any",
      class: "chart-number",
      value: signal[which] ?? "",
      onchange: () => {
        signal[which] =
          input.value === "" || !Number.isFinite(input.valueAsNumber) ? null : input.valueAsNumber;
        use.changed();
      },
    });
    return h("label", {}, title, input);
  };
  const axis = h(
    "select",
    {
      onchange: () => {
        signal.axis = Number(axis.value);
        use.changed();
      },
    },
    h("option", { value: "0" }, info?.unit ? `by unit (${info.unit})` : "by unit"),
    ...[1, 2, 3, 4].map((n) => h("option", { value: String(n) }, `axis ${n}`)),
  );
  axis.value = String(signal.axis);
  const dash = h(
    "select",
    {
      onchange: () => {
        signal.dash = dash.value === "" ? null : Number(dash.value);
        use.changed();
      },
    },
    h("option", { value: "" }, "by its place"),
    ...DASH_NAMES.map((name, i) => h("option", { value: String(i) }, name)),
  );
  dash.value = signal.dash === null ? "" : String(signal.dash);
  return h(
    "div",
    { class: "chart-menu", role: "dialog", "aria-label": `${signal.channel}: ${signal.field}` },
    h("div", { class: "chart-menu-title" }, `${signal.channel}: ${signal.field}`),
    info?.doc ? h("p", { class: "chart-menu-doc" }, info.doc) : null,
    colours(signal, ink, use),
    h("label", {}, "Line", dash),
    h("label", {}, "Axis", axis),
    limit("high", "Upper limit"),
    limit("low", "Lower limit"),
    h(
      "div",
      { class: "chart-menu-end" },
      h(
        "button",
        { type: "button", class: "button quiet", onclick: () => use.remove() },
        icon("close"),
        "Remove",
      ),
      h("button", { type: "button", class: "button", onclick: () => use.close() }, "Done"),
    ),
  );
}

function colours(signal: Shown, ink: readonly string[], use: MenuUse): HTMLElement {
  const group = h("div", { class: "chart-colours", role: "radiogroup", "aria-label": "Colour" });
  const buttons = Array.from({ length: COLOURS }, (_, i) => {
    const button = h("button", {
      type: "button",
      role: "radio",
      class: "chart-colour",
      "aria-label": `colour ${i + 1}`,
      "aria-checked": String(signal.colour === i),
      onclick: () => {
        signal.colour = i;
        buttons.forEach((other, k) => setAttribute(other, "aria-checked", String(k === i)));
        use.changed();
      },
    });
    button.style.background = ink[i]!;
    return button;
  });
  group.append(...buttons);
  return group;
}
