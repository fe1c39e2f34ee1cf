// SPDX-License-Identifier: MIT
// One chart: the layer with the signals, uPlot over it, the legend beside it, and what the pointer
// and keys do in it. It draws when it is told to; the board tells it when, and has the time axis.

import { h, icon, setAttribute, setText } from "../dom";
import type { FieldInfo } from "../live";
import { Axes, cursorTime, GUTTER, type AxisInfo, type Overlay } from "./axes";
import type { Trace } from "./draw";
import type { Missing } from "./gaps";
import { Layer } from "./layer";
import { Legend, signalMenu, type LegendRow } from "./legend";
import { DASHES, dashOf, type Ink } from "./palette";
import { extent, heldAt, silences, statistics, type ChannelView } from "./pieces";
import { AutoRange, niceRange, type Range } from "./scale";
import { axisKey, heldText, kindOf, latestText, symbolsOf, type Shown } from "./signal";
import { bindStage } from "./stage";
import type { Span, Timeline } from "./timeline";
import { clock, duration } from "./time";
import { ValueTable } from "./table";

export interface ChartHost {
  timeline: Timeline;
  lastUsed: Chart | null;
  ink: Ink;
  dashes: boolean; // always
  stats: boolean;
  selecting: boolean; // a drag selects
  gutters: { left: number; right: number }; // axes on each side, the most of all charts
  info(signal: { channel: string; field: string }): FieldInfo | null;
  view(channel: string): ChannelView;
  latest(channel: string, field: string): unknown;
  refused(channel: string, field: string): string;
  detail(channel: string): {
    text: string;
    peaks: boolean;
    behind: string;
    trouble: string;
    loading: boolean;
  };
  used(chart: Chart): void;
  changed(what: "signals" | "look"): void; // to be planned anew, or only to be kept
  close(chart: Chart): void;
  popup(content: HTMLElement, anchor: HTMLElement): () => void; // returns: close it
  announce(text: string): void;
  pointer(chart: Chart, at: number | null): void; // the pointer is at this moment
}

const RANGES_MS = 500;

interface AxisState {
  auto: AutoRange;
  fixed: Range | null;
}

export class Chart {
  readonly element: HTMLElement;
  readonly stage = h("div", {
    class: "chart-stage",
    tabindex: "0",
    role: "application",
    "aria-roledescription": "strip chart",
  });
  readonly signals: Shown[] = [];
  readonly axisStates = new Map<string, AxisState>();
  readonly layer = new Layer();
  axes: Axes | null = null;
  phase = 0; // of a pixel: charts move in different frames
  private dirty = -Infinity;
  private drawnBase = NaN;
  private drawnMs = 0;
  private rangedMs = -Infinity;
  readoutMs = -Infinity;
  private shownSpan: Span = { from: 0, to: 1 };
  private readonly title = h("h3", { class: "chart-title" });
  private readonly badge = h("span", { class: "chart-badge" });
  private readonly loss = h("span", { class: "chart-badge bad" });
  private readonly note = h("span", { class: "chart-note" });
  private readonly busy = h("div", {
    class: "chart-busy",
    role: "progressbar",
    "aria-label": "loading",
  });
  private readonly flag = h("div", { class: "chart-flag tabular", "aria-hidden": "true" });
  private readonly legend: Legend;
  private readonly table: ValueTable;
  private flagLength = 0;
  private flagHalf = 0;
  private built = "";
  private sized: ResizeObserver;
  private gone = false;

  constructor(readonly host: ChartHost) {
    this.legend = new Legend({ menu: (signal, button) => this.openMenu(signal, button) });
    this.table = new ValueTable({
      signals: () =>
        this.signals.map((signal) => ({
          signal,
          info: host.info(signal),
          view: host.view(signal.channel),
        })),
      span: () => this.shownSpan,
      missing: () => this.missing(this.shownSpan),
    });
    const tools = h(
      "div",
      { class: "chart-tools" },
      h(
        "button",
        {
          type: "button",
          class: "chart-tool",
          title: "Value axes: range",
          "aria-label": "Value axes",
          onclick: (event: Event) => this.openAxes(event.currentTarget as HTMLElement),
        },
        "y",
      ),
      h(
        "button",
        {
          type: "button",
          class: "chart-tool",
          title: "Values as a table",
          "aria-label": "Values as a table",
          onclick: () => this.table.toggle(),
        },
        "≡",
      ),
      h(
        "button",
        {
          type: "button",
          class: "chart-tool",
          title: "Close this chart",
          "aria-label": "Close this chart",
          onclick: () => host.close(this),
        },
        icon("close"),
      ),
    );
    this.stage.append(this.busy, this.flag);
    this.element = h(
      "section",
      { class: "chart" },
      h("header", { class: "chart-head" }, this.title, this.badge, this.loss, this.note, tools),
      h(
        "div",
        { class: "chart-body" },
        this.stage,
        h("div", { class: "chart-side" }, this.legend.element),
      ),
      this.table.element,
    );
    bindStage(this);
    this.sized = new ResizeObserver(() => this.resized());
    this.sized.observe(this.stage);
  }

  // ---- what it shows ----

  add(signal: Shown): void {
    if (this.signals.some((s) => s.channel === signal.channel && s.field === signal.field)) return;
    this.signals.push(signal);
    this.rebuild();
  }

  remove(channel: string, field: string): void {
    const at = this.signals.findIndex((s) => s.channel === channel && s.field === field);
    if (at < 0) return;
    this.signals.splice(at, 1);
    this.rebuild();
  }

  channels(): string[] {
    return [...new Set(this.signals.map((signal) => signal.channel))];
  }

  axisState(key: string): AxisState {
    let state = this.axisStates.get(key);
    if (!state) this.axisStates.set(key, (state = { auto: new AutoRange(), fixed: null }));
    return state;
  }

  axisKeys(): string[] {
    const keys = this.signals
      .filter((signal) => kindOf(this.host.info(signal)) !== "text")
      .map((signal) => axisKey(signal, this.host.info(signal)));
    return [...new Set(keys)];
  }

  sides(): { left: number; right: number } {
    const count = this.axisKeys().length;
    return { left: Math.max(1, Math.ceil(count / 2)), right: Math.floor(count / 2) };
  }

  /** Signals, units, the theme or the room of the axes changed. */
  rebuild(): void {
    this.built = "";
    this.touch(-Infinity);
    const names = this.channels();
    const fields = this.signals.map((signal) => signal.field);
    setText(this.title, this.signals.length === 0 ? "Empty chart" : names.join(", "));
    setAttribute(
      this.stage,
      "aria-label",
      `Chart of ${fields.join(", ") || "nothing"} of ${names.join(", ")}. ` +
        "Arrow keys move the cursor, plus and minus zoom, A and B set marks.",
    );
  }

  private build(): boolean {
    const width = this.stage.clientWidth;
    const height = this.stage.clientHeight;
    if (width < 160 || height < 60) return false;
    const axes = this.axisKeys().map((key) => this.axisInfo(key));
    const { left, right } = this.host.gutters;
    const described = JSON.stringify([
      axes.map(({ min, max, ...rest }) => rest),
      left,
      right,
      this.host.ink,
    ]);
    if (described === this.built && this.axes) {
      if (this.axes.plot.width !== width || this.axes.plot.height !== height) {
        this.axes.plot.setSize({ width, height });
        this.fit();
      }
      return true;
    }
    this.built = described;
    this.axes?.destroy();
    if (axes.length === 0)
      axes.push({
        key: "u",
        title: "",
        colour: this.host.ink.text2,
        symbols: null,
        min: 0,
        max: 1,
      });
    this.axes = new Axes(this.stage, axes, this.host.ink, left, right, { width, height });
    this.axes.plot.under.append(this.layer.canvas);
    this.fit();
    return true;
  }

  // After uPlot has laid out its axes; it does so in a microtask, once a scale is known.
  private fit(): void {
    const plot = this.axes!.plot;
    const scale = devicePixelRatio;
    const sides = (this.host.gutters.left + this.host.gutters.right) * GUTTER + 10;
    const known = plot.bbox.width > 0 && plot.bbox.height > 0;
    const width = known ? plot.bbox.width : Math.round((plot.width - sides) * scale);
    const height = known ? plot.bbox.height : Math.round((plot.height - 46) * scale);
    this.layer.resize(width, height, scale);
    this.touch(-Infinity);
  }

  private axisInfo(key: string): AxisInfo {
    const mine = this.signals.filter((signal) => axisKey(signal, this.host.info(signal)) === key);
    const infos = mine.map((signal) => this.host.info(signal));
    const units = [...new Set(infos.map((info) => info?.unit ?? ""))].filter(Boolean);
    const symbols = mine.length === 1 ? symbolsOf(infos[0]!) : null;
    const state = this.axisState(key);
    const range = state.fixed ?? state.auto.range ?? { min: 0, max: 1 };
    const alone = mine.length === 1 && this.signals.length > 1 && this.axisKeys().length > 1;
    return {
      key,
      title: units.join(", "),
      symbols,
      ...range,
      colour: alone ? this.host.ink.series[mine[0]!.colour]! : this.host.ink.text2,
    };
  }

  // ---- drawing ----

  /** Something changed from this moment on. */
  touch(from: number): void {
    if (from < this.dirty) this.dirty = from;
    if (from === -Infinity) this.rangedMs = -Infinity;
  }

  get pixels(): number {
    return this.layer.canvas.width;
  }

  /** Seconds a pixel. */
  get pixel(): number {
    const { from, to } = this.host.timeline.still ?? { from: 0, to: this.host.timeline.length };
    return (to - from) / Math.max(1, this.pixels);
  }

  private base(): number {
    return Math.floor(this.host.timeline.edge() / this.pixel + this.phase) - this.pixels;
  }

  /** Whether it has moved by a pixel, or something in it has changed. */
  due(nowMs: number): boolean {
    if (this.gone) return false;
    if (this.host.timeline.still) return this.dirty < Infinity;
    if (this.base() !== this.drawnBase) return true;
    return this.dirty < Infinity && nowMs - this.drawnMs > 150;
  }

  draw(nowMs: number): void {
    if (!this.build() || !this.axes) return;
    const still = this.host.timeline.still;
    const pixel = this.pixel;
    const base = still ? still.from / pixel : this.base();
    const span = still ?? { from: base * pixel, to: (base + this.pixels) * pixel };
    this.shownSpan = span;
    this.updateRanges(span, nowMs, still !== null);
    const traces = this.traces();
    const scale = devicePixelRatio;
    if (still) this.layer.still(traces, base, pixel, this.host.ink.surface, scale);
    else {
      // The line to what is new begins at what was the newest, as far back as lines reach.
      const usual = Math.max(0, ...traces.map((trace) => trace.view.usual));
      const dirty = this.dirty - 3.01 * usual;
      this.layer.scroll(traces, base, pixel, dirty, this.host.ink.surface, scale);
    }
    this.axes.overlay = this.makeOverlay(span);
    this.axes.show(span.from, span.to);
    this.showCursor();
    this.dirty = Infinity;
    this.drawnBase = still ? NaN : base;
    this.drawnMs = nowMs;
    const box = this.axes.plot.bbox;
    if (box.width !== this.layer.canvas.width || box.height !== this.layer.canvas.height)
      queueMicrotask(() => this.gone || !this.axes || this.fitAgain());
  }

  // uPlot's own box is only known once it has drawn for the first time.
  private fitAgain(): void {
    const box = this.axes!.plot.bbox;
    if (box.width === this.layer.canvas.width && box.height === this.layer.canvas.height) return;
    this.fit();
  }

  // Of all that is visible twice a second, else only of what is new: as long as that is within the
  // ranges, they stay.
  private updateRanges(span: Span, nowMs: number, settle: boolean): void {
    const states = this.axes!.axes.map((axis) => this.axisState(axis.key));
    if (!settle && nowMs - this.rangedMs < RANGES_MS) {
      const end = (this.drawnBase + this.pixels - 3) * this.pixel;
      const fresh = this.extents({
        from: Math.max(span.from, Math.min(this.dirty, end)),
        to: span.to,
      });
      const within = this.axes!.axes.every((axis, i) => {
        const range = states[i]!.fixed ?? states[i]!.auto.range;
        const [lo, hi] = fresh.get(axis.key) ?? [NaN, NaN];
        return axis.symbols || (range && !(lo < range.min) && !(hi > range.max));
      });
      if (within) return;
    }
    this.rangedMs = nowMs;
    const wanted = this.extents(span);
    this.axes!.axes.forEach((axis, i) => {
      const state = states[i]!;
      const [lo, hi] = wanted.get(axis.key) ?? [NaN, NaN];
      if (axis.symbols) state.auto.range = { min: -0.4, max: axis.symbols.length - 0.6 };
      else state.auto.update(lo, hi, nowMs, settle);
      const range = state.fixed ?? state.auto.range ?? { min: 0, max: 1 };
      axis.min = range.min;
      axis.max = range.max;
    });
  }

  /** Of each axis: the lowest and highest that is there in a span. */
  private extents(span: Span): Map<string, [number, number]> {
    const found = new Map<string, [number, number]>();
    for (const signal of this.signals) {
      const info = this.host.info(signal);
      if (kindOf(info) === "text") continue;
      const key = axisKey(signal, info);
      const [lo, hi] = extent(this.host.view(signal.channel), signal.field, span.from, span.to);
      const before = found.get(key);
      found.set(key, before ? [least(before[0], lo), most(before[1], hi)] : [lo, hi]);
    }
    return found;
  }

  private traces(): Trace[] {
    const traces: Trace[] = [];
    this.signals.forEach((signal, place) => {
      const info = this.host.info(signal);
      const kind = kindOf(info);
      const axis = this.axes!.axes.find((a) => a.key === axisKey(signal, info));
      if (kind === "text" || !axis) return;
      traces.push({
        view: this.host.view(signal.channel),
        field: signal.field,
        colour: this.host.ink.series[signal.colour]!,
        dash: DASHES[signal.dash ?? dashOf(place, this.host.dashes)]!,
        steps: kind === "steps",
        min: axis.min,
        max: axis.max,
      });
    });
    return traces;
  }

  /** What is missing in the span, as it is shaded: told, or seen. */
  missing(span: Span): Missing[] {
    const found: Missing[] = [];
    const until = Math.min(span.to, this.host.timeline.edge());
    for (const channel of this.channels()) {
      const view = this.host.view(channel);
      const quiet = silences(view, span.from, span.to, until);
      found.push(...quiet);
      for (const gap of view.gaps)
        if (
          gap.to >= span.from &&
          gap.from <= span.to &&
          !quiet.some((q) => gap.from < q.to && gap.to > q.from)
        )
          found.push(gap);
    }
    return found;
  }

  private makeOverlay(span: Span): Overlay {
    const { timeline, ink } = this.host;
    const gaps = this.missing(span);
    const lost = gaps.reduce((sum, gap) => sum + (gap.count ?? 0), 0);
    const wide = gaps.some((gap) => gap.to - gap.from > 3 * this.pixel);
    setText(this.loss, lost > 0 ? `${lost} lost in view` : wide ? "gap in view" : "");
    const words = gaps.slice(0, 12).map((gap) => {
      const count = gap.count ? ` (${gap.count})` : "";
      return `${clock(gap.from, 3)}, ${duration(gap.to - gap.from)}: ${gap.reason}${count}`;
    });
    setAttribute(this.loss, "title", words.join("\n"));
    const limits: Overlay["limits"] = [];
    for (const signal of this.signals) {
      const axis = this.axes!.axes.findIndex(
        (a) => a.key === axisKey(signal, this.host.info(signal)),
      );
      if (axis < 0) continue;
      const colour = ink.series[signal.colour]!;
      if (signal.high !== null)
        limits.push({
          axis,
          value: signal.high,
          colour,
          text: `${signal.field} ≤ ${signal.high}`,
        });
      if (signal.low !== null)
        limits.push({
          axis,
          value: signal.low,
          colour,
          text: `${signal.field} ≥ ${signal.low}`,
        });
    }
    const marks: Overlay["marks"] = [];
    if (timeline.a !== null) marks.push({ at: timeline.a, text: "A", colour: ink.accent });
    if (timeline.b !== null) marks.push({ at: timeline.b, text: "B", colour: ink.accent });
    if (timeline.trigger !== null)
      marks.push({ at: timeline.trigger, text: "T", colour: ink.warn });
    return {
      gaps: joinNarrow(gaps, 3 * this.pixel),
      limits,
      marks,
      selection: timeline.selection,
      words: this.words(),
    };
  }

  private words(): string {
    if (this.signals.length === 0) return "Add a signal from the tree, or drop one here";
    const trouble = this.channels()
      .map((channel) => this.host.detail(channel).trouble)
      .filter(Boolean);
    return trouble[0] ?? "";
  }

  // ---- words ----

  /** Values, badges: twice a second, and when the cursor moves. */
  readouts(nowMs = performance.now()): void {
    this.readoutMs = nowMs;
    const { timeline, ink } = this.host;
    const details = this.channels().map((channel) => this.host.detail(channel));
    setText(this.badge, [...new Set(details.map((d) => d.text).filter(Boolean))].join(", "));
    this.badge.classList.toggle(
      "warn",
      details.some((d) => !d.peaks),
    );
    setText(this.note, details.map((d) => d.behind).filter(Boolean)[0] ?? "");
    this.busy.classList.toggle(
      "on",
      details.some((d) => d.loading),
    );
    const marks = timeline.a !== null || timeline.b !== null;
    const names = this.channels().length > 1;
    const rows = this.signals.map((signal, place): LegendRow => {
      const info = this.host.info(signal);
      const view = this.host.view(signal.channel);
      const at = (moment: number | null) =>
        moment === null ? null : heldAt(view, signal.field, moment);
      return {
        signal,
        info,
        colour: ink.series[signal.colour]!,
        dash: signal.dash ?? dashOf(place, this.host.dashes),
        name: names ? `${signal.channel}: ${signal.field}` : signal.field,
        value:
          timeline.cursor !== null && kindOf(info) !== "text"
            ? heldText(at(timeline.cursor), info)
            : this.latest(signal, info),
        a: at(timeline.a),
        b: at(timeline.b),
        statistics: this.host.stats
          ? statistics(view, signal.field, this.shownSpan.from, this.shownSpan.to)
          : null,
      };
    });
    this.legend.update(rows, timeline.cursor !== null, marks, this.host.stats);
  }

  private latest(signal: Shown, info: FieldInfo | null): string {
    const refused = this.host.refused(signal.channel, signal.field);
    if (refused) return refused;
    const timeline = this.host.timeline;
    if (timeline.still && kindOf(info) !== "text")
      return heldText(
        heldAt(this.host.view(signal.channel), signal.field, timeline.still.to),
        info,
      );
    return latestText(this.host.latest(signal.channel, signal.field), info);
  }

  /** The values at the cursor, as a sentence. */
  spoken(at: number): string {
    const drawn = this.signals.filter((signal) => kindOf(this.host.info(signal)) !== "text");
    const values = drawn.map((signal) => {
      const info = this.host.info(signal);
      const held = heldAt(this.host.view(signal.channel), signal.field, at);
      const unit = held && info?.unit ? ` ${info.unit}` : "";
      return `${signal.field} ${held ? heldText(held, info) : "nothing"}${unit}`;
    });
    return `${cursorTime(at, this.pixel)}: ${values.join(", ")}`;
  }

  showCursor(): void {
    const { cursor } = this.host.timeline;
    if (!this.axes) return;
    const left =
      cursor === null ? null : (cursor - this.shownSpan.from) / this.pixel / devicePixelRatio;
    this.axes.cursor(left);
    const shows = left !== null && left >= 0 && left <= this.axes.plot.over.clientWidth;
    this.flag.classList.toggle("on", shows);
    if (!shows) return;
    const time = cursorTime(cursor!, this.pixel);
    setText(this.flag, time);
    if (time.length !== this.flagLength) {
      this.flagLength = time.length;
      this.flagHalf = this.flag.offsetWidth / 2; // laid out only where its length has changed
    }
    const half = this.flagHalf;
    const x = Math.round(left + this.axes.plot.over.offsetLeft);
    const within = Math.max(half, Math.min(this.axes.plot.width - half, x));
    this.flag.style.transform = `translateX(${within}px) translateX(-50%)`;
  }

  /** The table of what is visible, for who reads. Of one chart only, and while it moves only now
   * and then, not under somebody's eyes: twenty tables a second would cost more than the charts. */
  refreshTable(): void {
    const still = this.host.timeline.still !== null;
    if (
      still
        ? this.table.isOpen || this.host.lastUsed === this
        : this.stage === document.activeElement && !this.table.isOpen
    )
      this.table.refresh();
  }

  // ---- where ----

  /** The moment at a place on the screen, and whether that is in the plot. */
  momentAt(clientX: number): number {
    const box = this.axes!.plot.over.getBoundingClientRect();
    return this.shownSpan.from + (clientX - box.left) * devicePixelRatio * this.pixel;
  }

  span(): Span {
    return this.shownSpan;
  }

  // ---- menus ----

  private openMenu(signal: Shown, button: HTMLElement): void {
    const info = this.host.info(signal);
    const close = this.host.popup(
      signalMenu(signal, info, this.host.ink.series, {
        changed: () => {
          this.rebuild();
          this.readouts();
          this.host.changed("look");
        },
        remove: () => {
          close();
          this.remove(signal.channel, signal.field);
          this.host.changed("signals");
        },
        close: () => close(),
      }),
      button,
    );
  }

  private openAxes(button: HTMLElement): void {
    const close = this.host.popup(
      h(
        "div",
        { class: "chart-menu", role: "dialog", "aria-label": "Value axes" },
        h("div", { class: "chart-menu-title" }, "Value axes"),
        ...(this.axes?.axes ?? [])
          .filter((axis) => !axis.symbols)
          .map((axis, i) => this.axisFields(axis, i)),
        h("p", { class: "chart-menu-doc" }, "Empty: follows what is visible."),
        h(
          "div",
          { class: "chart-menu-end" },
          h("button", { type: "button", class: "button", onclick: () => close() }, "Done"),
        ),
      ),
      button,
    );
  }

  private axisFields(axis: AxisInfo, i: number): HTMLElement {
    const state = this.axisState(axis.key);
    const field = (which: "min" | "max"): HTMLInputElement =>
      h("input", {
        type: "number",
        step: "any",
        class: "chart-number",
        "aria-label": `${axis.title || `axis ${i + 1}`} ${which}`,
        placeholder: String(Number(axis[which].toPrecision(6))),
        value: state.fixed ? String(state.fixed[which]) : "",
        onchange: () => this.setFixed(axis.key, low, high),
      });
    const low = field("min");
    const high = field("max");
    return h(
      "div",
      { class: "chart-range" },
      h("span", {}, axis.title || `axis ${i + 1}`),
      low,
      "to",
      high,
    );
  }

  private setFixed(key: string, low: HTMLInputElement, high: HTMLInputElement): void {
    const state = this.axisState(key);
    const now = state.fixed ?? state.auto.range ?? { min: 0, max: 1 };
    const min = low.value === "" ? now.min : low.valueAsNumber;
    const max = high.value === "" ? now.max : high.valueAsNumber;
    state.fixed = (low.value === "" && high.value === "") || !(min < max) ? null : { min, max };
    this.touch(-Infinity);
    this.host.changed("look");
  }

  /** Zooms an axis around a place (0: below, 1: above), or moves it; it is a fixed one then. */
  changeAxis(key: string, factor: number, place: number, move: number): void {
    const state = this.axisState(key);
    const { min, max } = state.fixed ?? state.auto.range ?? niceRange(0, 1);
    const length = (max - min) * factor;
    const low = min + (max - min - length) * place + move * length;
    state.fixed = { min: low, max: low + length };
    this.touch(-Infinity);
    this.host.changed("look");
  }

  freeAxis(key: string): void {
    this.axisState(key).fixed = null;
    this.touch(-Infinity);
    this.host.changed("look");
  }

  private resized(): void {
    this.touch(-Infinity);
    this.host.changed("signals");
  }

  destroy(): void {
    this.gone = true;
    this.sized.disconnect();
    this.axes?.destroy();
    this.element.remove();
  }
}

function least(a: number, b: number): number {
  return !(a <= b) ? b : a;
}
function most(a: number, b: number): number {
  return !(a >= b) ? b : a;
}

// Many small losses in one place are one mark, with their sum.
function joinNarrow(gaps: Missing[], within: number): Missing[] {
  const joined: Missing[] = [];
  for (const gap of [...gaps].sort((a, b) => a.from - b.from)) {
    const last = joined[joined.length - 1];
    if (last && last.reason === gap.reason && gap.from - last.to < within) {
      last.to = Math.max(last.to, gap.to);
      last.count = last.count === null || gap.count === null ? null : last.count + gap.count;
    } else joined.push({ ...gap });
  }
  return joined;
}
