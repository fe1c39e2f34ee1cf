// SPDX-License-Identifier: MIT
// What is visible as a table, for who reads it with a screen reader, and for who wants to read
// values off: times to the nanosecond, values to the last digit, in pages. Out of sight until it is
// opened; a screen reader finds it in any case.

import { h } from "../dom";
import type { FieldInfo } from "../live";
import type { Missing } from "./gaps";
import { moments, type ChannelView } from "./pieces";
import { exactText, type Shown } from "./signal";
import { rfc3339, toNs } from "./time";
import type { Span } from "./timeline";

const ROWS = 100;

export interface TableUse {
  signals(): { signal: Shown; info: FieldInfo | null; view: ChannelView }[];
  span(): Span;
  missing(): Missing[];
}

export class ValueTable {
  readonly element: HTMLElement;
  private readonly caption = h("caption");
  private readonly head = h("tr");
  private readonly body = h("tbody");
  private readonly more: HTMLButtonElement;
  private readonly less: HTMLButtonElement;
  private open = false;
  private starts: number[] = []; // of the pages so far, and of the next
  private at = 0; // the page that is shown
  private timer = 0;

  constructor(private readonly use: TableUse) {
    this.less = h(
      "button",
      { type: "button", class: "button quiet", onclick: () => this.turn(-1) },
      "Earlier",
    );
    this.more = h(
      "button",
      { type: "button", class: "button quiet", onclick: () => this.turn(1) },
      "Later",
    );
    const again = h(
      "button",
      { type: "button", class: "button quiet", onclick: () => this.fill() },
      "Values of now",
    );
    this.element = h(
      "div",
      { class: "chart-table visually-hidden" },
      h("table", {}, this.caption, h("thead", {}, this.head), this.body),
      h("div", { class: "chart-table-end" }, again, this.less, this.more),
    );
  }

  toggle(): void {
    this.open = !this.open;
    this.element.classList.toggle("visually-hidden", !this.open);
    if (this.open) this.fill();
  }

  /** What is visible is another: soon, for it may be about to change again. */
  refresh(): void {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.fill(), 150);
  }

  get isOpen(): boolean {
    return this.open;
  }
  get isRead(): boolean {
    return this.element.contains(document.activeElement);
  }

  private fill(): void {
    this.starts = [this.use.span().from];
    this.at = 0;
    this.show();
  }

  private turn(by: number): void {
    this.at = Math.max(0, Math.min(this.starts.length - 1, this.at + by));
    this.show();
  }

  private show(): void {
    const span = this.use.span();
    const signals = this.use.signals();
    const start = this.starts[this.at]!;
    const rows = new Map<string, TableRow>();
    let all = true;
    signals.forEach(({ signal, info, view }, column) => {
      const found = moments(view, signal.field, start, span.to, ROWS + 1);
      all &&= found.all;
      for (const { at, lo, hi } of found.values) {
        const time = rfc3339(toNs(at));
        let row = rows.get(time);
        if (!row) rows.set(time, (row = { at, cells: signals.map(() => ""), span: 0 }));
        row.cells[column] = exactText({ lo, hi, at }, info);
      }
    });
    const sorted = [...rows.values()].sort((a, b) => a.at - b.at);
    const last = all && sorted.length <= ROWS;
    this.starts.length = this.at + 1;
    if (!last && sorted.length > ROWS) this.starts.push(sorted[ROWS]!.at - 5e-10);
    const page = sorted.slice(0, ROWS);
    const end = last ? span.to : page[page.length - 1]!.at;
    for (const gap of this.use.missing())
      if (gap.from < end && gap.to >= start) page.push(this.gapRow(gap, signals.length));
    page.sort((a, b) => a.at - b.at);
    const names = signals.map(
      ({ signal, info }) =>
        `${signal.channel}: ${signal.field}${info?.unit ? ` [${info.unit}]` : ""}`,
    );
    this.write(names, page, last, span);
  }

  private gapRow(gap: Missing, columns: number): TableRow {
    const count = gap.count === null ? "" : `, ${gap.count} lost`;
    const words = `gap until ${rfc3339(toNs(gap.to))}: ${gap.reason}${count}`;
    return { at: gap.from, cells: [words], span: columns };
  }

  private write(names: string[], rows: TableRow[], last: boolean, span: Span): void {
    this.caption.textContent =
      `Visible values from ${rfc3339(toNs(span.from))} to ${rfc3339(toNs(span.to))}` +
      `, ${rows.length} rows${last ? "" : ", more follow"}`;
    this.head.replaceChildren(...["Time", ...names].map((name) => h("th", { scope: "col" }, name)));
    this.body.replaceChildren(
      ...rows.map((row) =>
        h(
          "tr",
          row.span > 0 ? { class: "gap" } : {},
          h("th", { scope: "row" }, rfc3339(toNs(row.at))),
          ...row.cells.map((cell) => h("td", row.span > 0 ? { colspan: row.span } : {}, cell)),
        ),
      ),
    );
    this.more.disabled = last;
    this.less.disabled = this.at === 0;
  }
}

interface TableRow {
  at: number;
  cells: string[];
  span: number; // of a gap: over so many columns
}
