// SPDX-License-Identifier: MIT
// The signals of a chart in words: name, value (the latest, or what held at the cursor), the values
// at A and B and their difference, statistics of what is visible; and a menu for each.

import type { FieldInfo } from "../live";
import { h, icon, keyed, setAttribute, setText } from "../dom";
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

export class Legend {
  readonly element: HTMLTableElement;
  private readonly head = h("tr");
  private readonly body = h("tbody");
  private columns = "";

  constructor(private readonly use: LegendUse) {
    this.element = h("table", { class: "chart-legend" }, h("thead", {}, this.head), this.body);
  }

  update(rows: LegendRow[], cursor: boolean, marks: boolean, stats: boolean): void {
    this.setHead(cursor, marks, stats);
    keyed(
      this.body,
      rows,
      (row) => `${row.signal.channel}:${row.signal.field}`,
      (row) => this.make(row),
      (element, row) => this.fill(element, row, marks, stats),
    );
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

  private make(row: LegendRow): HTMLTableRowElement {
    const button = h(
      "button",
      {
        type: "button",
        class: "chart-signal",
        "aria-haspopup": "dialog",
        onclick: () => this.use.menu(row.signal, button),
      },
      swatch(),
      h("span", { class: "chart-name" }),
    );
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, button),
      h("td", { class: "tabular chart-value" }),
    );
  }

  private fill(element: HTMLTableRowElement, row: LegendRow, marks: boolean, stats: boolean): void {
    const button = element.cells[0]!.firstElementChild as HTMLElement;
    const line = button.firstElementChild!.firstElementChild!;
    setAttribute(line, "stroke", row.colour);
    setAttribute(line, "stroke-dasharray", DASHES[row.dash]!.map((n) => n / 1.5).join(" ") || null);
    setText(button.lastElementChild!, row.name);
    const unit = row.info?.unit ?? "";
    setAttribute(
      button,
      "title",
      [`${row.signal.channel}: ${row.signal.field}`, row.info?.doc, row.info?.type]
        .filter(Boolean)
        .join("\n"),
    );
    const words = [unit && kindOf(row.info) === "number" ? `${row.value} ${unit}` : row.value];
    if (marks)
      words.push(heldText(row.a, row.info), heldText(row.b, row.info), difference(row.a, row.b));
    const s = row.statistics;
    if (stats && s)
      words.push(
        number(s.min, 6),
        number(s.max, 6),
        number(s.mean, 6),
        `${s.count} ${s.bins ? "bins" : "datums"}`,
      );
    while (element.cells.length > words.length + 1) element.deleteCell(-1);
    while (element.cells.length < words.length + 1) element.append(h("td", { class: "tabular" }));
    words.forEach((text, i) => setText(element.cells[i + 1]!, text));
    if (stats && s)
      setAttribute(
        element.cells[element.cells.length - 2]!,
        "title",
        s.bins ? "of the middles of the bins" : "of the datums",
      );
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
