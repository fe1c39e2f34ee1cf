// SPDX-License-Identifier: MIT
// What is visible as a table, for who reads it with a screen reader, and for who wants to read
// values off: times to the nanosecond, values to the last digit, in pages. Out of sight until it is
// opened; a screen reader finds it in any case.

import { h } from "../dom";
import type { FieldInfo } from "../live";
import { moments, type ChannelView } from "./pieces";
import { exactText, type Shown } from "./signal";
import { rfc3339, toNs } from "./time";
import type { Span } from "./timeline";

const ROWS = 100;

interface TableUse {
  signals(): { signal: Shown; info: FieldInfo | null; view: ChannelView }[];
  span(): Span;
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
    const rows = new Map<string, { at: number; cells: string[] }>();
    let all = true;
    signals.forEach(({ signal, info, view }, column) => {
      const found = moments(view, signal.field, start, span.to, ROWS + 1);
      all &&= found.all;
      for (const { at, lo, hi } of found.values) {
        const time = rfc3339(toNs(at));
        let row = rows.get(time);
        if (!row) rows.set(time, (row = { at, cells: signals.map(() => "") }));
        row.cells[column] = exactText({ lo, hi, at }, info);
      }
    });
    const sorted = [...rows.entries()].sort((a, b) => a[1].at - b[1].at);
    const last = all && sorted.length <= ROWS;
    this.starts.length = this.at + 1;
    if (!last && sorted.length > ROWS) this.starts.push(sorted[ROWS]![1].at - 5e-10);
    const names = signals.map(
      ({ signal, info }) =>
        `${signal.channel}: ${signal.field}${info?.unit ? ` [${info.unit}]` : ""}`,
    );
    const page = sorted.slice(0, ROWS).map(([time, row]) => [time, ...row.cells]);
    this.write(names, page, last, span);
  }

  private write(names: string[], rows: string[][], last: boolean, span: Span): void {
    this.caption.textContent =
      `Visible values from ${rfc3339(toNs(span.from))} to ${rfc3339(toNs(span.to))}` +
      `, ${rows.length} rows` +
      (last ? "" : ", more follow");
    this.head.replaceChildren(...["Time", ...names].map((name) => h("th", { scope: "col" }, name)));
    this.body.replaceChildren(
      ...rows.map((row) =>
        h(
          "tr",
          {},
          ...row.map((cell, i) => (i === 0 ? h("th", { scope: "row" }, cell) : h("td", {}, cell))),
        ),
      ),
    );
    this.more.disabled = last;
    this.less.disabled = this.at === 0;
  }
}
