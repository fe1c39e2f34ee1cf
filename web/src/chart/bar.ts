// SPDX-License-Identifier: MIT
// The charts' tool bar: live or not, what span, marks and what lies between them, and the rest.

import { h, icon, setAttribute, setText } from "../dom";
import type { StripBoard } from "./board";
import { clock, day, digitsFor, duration, getZone, setZone, zoneName } from "./time";

const LENGTHS = [0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 21600, 86400, 604800];

export class Bar {
  readonly element: HTMLElement;
  private readonly live: HTMLButtonElement;
  private readonly pause: HTMLButtonElement;
  private readonly window: HTMLSelectElement;
  private readonly span = h("span", { class: "board-span tabular" });
  private readonly marks = h("span", { class: "board-marks tabular" });
  private readonly select: HTMLButtonElement;
  private readonly stats: HTMLButtonElement;
  private readonly trigger: HTMLButtonElement;
  private readonly shape: HTMLButtonElement;
  private readonly save: HTMLButtonElement;
  private readonly pin: HTMLButtonElement;

  constructor(private readonly board: StripBoard) {
    const timeline = board.timeline;
    const button = (
      words: string,
      title: string,
      does: (event: Event) => void,
    ): HTMLButtonElement =>
      h("button", { type: "button", class: "button quiet", title, onclick: does }, words);
    this.live = h(
      "button",
      {
        type: "button",
        class: "button board-live",
        title: "Back to live (L)",
        onclick: () => timeline.goLive(),
      },
      h("span", { class: "board-dot", "aria-hidden": "true" }),
      "Live",
    );
    this.pause = button("Pause", "Freeze what is visible; nothing is lost (Space)", () =>
      timeline.still ? timeline.goLive() : timeline.pause(),
    );
    this.window = h("select", {
      class: "board-window",
      "aria-label": "Window",
      onchange: () => timeline.setLength(Number(this.window.value)),
    });
    const zoom = (factor: number, words: string, title: string): HTMLButtonElement =>
      h(
        "button",
        {
          type: "button",
          class: "button quiet square",
          title,
          "aria-label": title,
          onclick: () => timeline.zoom(factor, timeline.cursor),
        },
        words,
      );
    const pan = (share: number, words: string, title: string): HTMLButtonElement =>
      h(
        "button",
        {
          type: "button",
          class: "button quiet square",
          title,
          "aria-label": title,
          onclick: () => timeline.pan(share),
        },
        words,
      );
    this.select = button("Select", "A drag selects a span (S; Shift and drag)", () =>
      board.toggle("selecting"),
    );
    this.stats = button("Stats", "Lowest, highest, mean, count of what is visible (I)", () =>
      board.toggle("stats"),
    );
    this.trigger = button("Trigger", "Freeze a window when a signal crosses a level", (event) =>
      board.trigger ? board.arm(null) : board.openTrigger(event.currentTarget as HTMLElement),
    );
    this.save = h(
      "button",
      {
        type: "button",
        class: "button quiet board-save",
        title: "Save exactly what is visible, or selected (E)",
        onclick: () => board.openSave(this.save),
      },
      icon("down"),
      "Save",
    );
    this.pin = h(
      "button",
      {
        type: "button",
        class: "button quiet",
        title: "Keep the span from retention",
        onclick: () => board.openPin(this.pin),
      },
      icon("pin"),
      "Pin",
    );
    const clear = h(
      "button",
      {
        type: "button",
        class: "button quiet square",
        title: "Marks and selection away (Esc)",
        "aria-label": "Marks and selection away",
        onclick: () => {
          timeline.a = timeline.b = null;
          timeline.select(null);
        },
      },
      icon("close"),
    );
    const mark = (which: "a" | "b"): HTMLButtonElement =>
      button(
        which.toUpperCase(),
        `Mark ${which.toUpperCase()} at the cursor, or in the middle; it can be dragged`,
        () => {
          const { from, to } = timeline.view();
          timeline.mark(
            which,
            timeline.cursor ?? from + (to - from) * (which === "a" ? 1 / 3 : 2 / 3),
          );
        },
      );
    this.shape = button("View", "Columns, dashes, local time or UTC", () => this.openShape());
    this.element = h(
      "div",
      { class: "board-bar", role: "toolbar", "aria-label": "Charts" },
      h(
        "div",
        { class: "board-group" },
        this.live,
        this.pause,
        pan(-0.5, "‹", "Back in time (Page Up)"),
        pan(0.5, "›", "Forward in time (Page Down)"),
        zoom(0.5, "+", "Zoom in (+)"),
        this.window,
        zoom(2, "−", "Zoom out (−)"),
      ),
      this.span,
      this.marks,
      h(
        "div",
        { class: "board-group" },
        mark("a"),
        mark("b"),
        this.select,
        clear,
        this.stats,
        this.trigger,
      ),
      h("div", { class: "board-group" }, this.save, this.pin),
      h(
        "div",
        { class: "board-group end" },
        this.shape,
        h(
          "button",
          {
            type: "button",
            class: "button quiet square",
            "aria-label": "An empty chart",
            title: "An empty chart",
            onclick: () => {
              board.newChart();
              board.changed("signals");
            },
          },
          icon("plus"),
        ),
      ),
    );
  }

  update(): void {
    const { timeline } = this.board;
    const still = timeline.still;
    const view = timeline.view();
    this.element.classList.toggle("live", !still);
    setAttribute(this.live, "aria-pressed", String(!still));
    setText(this.pause, still ? "Resume" : "Pause");
    this.updateWindow(view.to - view.from);
    const digits = still ? Math.min(9, digitsFor((view.to - view.from) / 200)) : 0;
    const today = day(timeline.edge());
    const date = (at: number): string => (day(at) === today ? "" : `${day(at)} `);
    const from = `${date(view.from)}${clock(view.from, digits)}`;
    const days = day(view.to) === day(view.from) ? "" : `${day(view.to)} `;
    const to = `${days}${clock(view.to, digits)}`;
    const why = { paused: "paused", look: "looking back", trigger: "trigger" }[timeline.why];
    const named = getZone() === "utc" ? "UTC" : zoneName(view.to);
    setText(this.span, `${still ? `${why} · ` : ""}${from} – ${to} ${named}`);
    setText(this.marks, this.markWords());
    for (const [button, on] of [
      [this.select, this.board.selecting],
      [this.stats, this.board.stats],
      [this.trigger, this.board.trigger !== null],
    ] as const)
      setAttribute(button, "aria-pressed", String(on));
    const rule = this.board.trigger?.rule;
    setText(this.trigger, rule ? `Armed: ${rule.field} ${rule.edge} ${rule.level}` : "Trigger");
  }

  private openShape(): void {
    const board = this.board;
    const columns = h(
      "select",
      {
        onchange: () => {
          board.columns = Number(columns.value);
          board.changed("signals");
        },
      },
      h("option", { value: "0" }, "by their number"),
      ...[1, 2, 3, 4].map((n) => h("option", { value: String(n) }, String(n))),
    );
    columns.value = String(board.columns);
    const dashes = h("input", { type: "checkbox", onchange: () => board.toggle("dashes") });
    dashes.checked = board.dashes;
    const utc = h("input", {
      type: "checkbox",
      onchange: () => {
        setZone(utc.checked ? "utc" : "local");
        board.setTheme();
        this.update();
      },
    });
    utc.checked = getZone() === "utc";
    const close = board.popup(
      h(
        "div",
        { class: "chart-menu", role: "dialog", "aria-label": "View" },
        h("div", { class: "chart-menu-title" }, "View"),
        h("label", {}, "Columns of charts", columns),
        h("label", { class: "chart-check" }, dashes, "dashes tell signals apart"),
        h("label", { class: "chart-check" }, utc, "times in UTC"),
        h(
          "div",
          { class: "chart-menu-end" },
          h("button", { type: "button", class: "button", onclick: () => close() }, "Done"),
        ),
      ),
      this.shape,
    );
  }

  private markWords(): string {
    const { a, b, selection } = this.board.timeline;
    const words: string[] = [];
    if (a !== null && b !== null) {
      const dt = b - a;
      words.push(
        `B − A ${duration(dt)}`,
        dt === 0 ? "" : `${Number((1 / Math.abs(dt)).toPrecision(4))} Hz`,
      );
    }
    if (selection) words.push(`selected ${duration(selection.to - selection.from)}`);
    return words.filter(Boolean).join(" · ");
  }

  private updateWindow(length: number): void {
    const known = LENGTHS.some((each) => Math.abs(each - length) < length * 1e-6);
    const all = known ? LENGTHS : [...LENGTHS, length].sort((a, b) => a - b);
    const key = known ? "" : String(length);
    if (this.window.dataset.extra !== key || this.window.options.length === 0) {
      this.window.dataset.extra = key;
      this.window.replaceChildren(
        ...all.map((each) => h("option", { value: String(each) }, duration(each))),
      );
    }
    const at = all.findIndex((each) => Math.abs(each - length) <= length * 1e-6);
    if (this.window.selectedIndex !== at && document.activeElement !== this.window)
      this.window.selectedIndex = at;
  }
}
