// SPDX-License-Identifier: MIT
// All charts together: the tool bar, the time axis, what is subscribed to and asked for, when what
// is drawn. At most a few milliseconds of each frame go into drawing; a chart is due when it has
// moved by a pixel, and their moments are spread.

import "./chart.css";
import "uplot/dist/uPlot.min.css";
import type { FieldInfo, LiveClient } from "../live";
import { h } from "../dom";
import { Bar } from "./bar";
import { Chart, type ChartHost } from "./chart";
import { pinDialog, saveDialog, triggerDialog } from "./dialogs";
import { FeedEntry, Rates, type FeedEvents, type Want } from "./feeds";
import { GapList, type Missing } from "./gaps";
import { boardKeys, KEYS } from "./keys";
import { Look } from "./look";
import { readInk, type Ink } from "./palette";
import { NOTHING, type ChannelView, type Piece } from "./pieces";
import { BinRing, SampleRing } from "./ring";
import { shown } from "./signal";
import { binNsFor, duration, getZone, setZone, toNs, toSeconds } from "./time";
import { Timeline } from "./timeline";
import { Trigger, type TriggerRule } from "./trigger";
import { readView, writeView, type BoardView } from "./view";

export interface Signal {
  channel: string;
  field: string;
}

export interface BoardOptions {
  client: LiveClient;
  rest(path: string, init?: RequestInit): Promise<Response>;
  fieldInfo(signal: Signal): FieldInfo | null;
  onChange(): void;
  announce(text: string): void;
  notify(text: string, kind: "info" | "bad"): void;
  download(path: string): Promise<void>;
}

export interface Board {
  add(signal: Signal, where?: "last" | "new" | number): void;
  remove(signal: Signal): void;
  shown(): Signal[];
  save(): URLSearchParams;
  restore(view: URLSearchParams): void;
  setTheme(theme: "light" | "dark"): void;
  setVisible(visible: boolean): void;
  key(event: KeyboardEvent): boolean;
  keys(): { keys: string; does: string }[];
  destroy(): void;
}

export function createBoard(element: HTMLElement, options: BoardOptions): Board {
  return new StripBoard(element, options);
}

const DRAW_MS = 7; // of a frame
const READOUT_MS = 500;
const BAR_MS = 500;
const STATUS_MS = 1300; // the fleet's state comes once a second
const RECORDED_S = 20;

export class StripBoard implements Board, ChartHost {
  readonly timeline: Timeline;
  ink: Ink;
  dashes = false;
  stats = false;
  selecting = false;
  columns = 0; // 0: by their number
  gutters = { left: 1, right: 0 };
  charts: Chart[] = [];
  lastUsed: Chart | null = null;
  trigger: Trigger | null = null;
  readonly look: Look;
  readonly entries = new Map<string, FeedEntry>();
  private readonly rates = new Rates();
  private readonly newest = new Map<string, number>();
  private frozen = new Map<string, Piece>();
  private views = new Map<string, ChannelView>();
  private readonly grid = h("div", { class: "charts" });
  private readonly bar: Bar;
  private readonly reduced = matchMedia("(prefers-reduced-motion: reduce)");
  private hover: { chart: Chart; share: number } | null = null;
  private visible = true;
  private first = 0; // which chart is drawn first in the next frame
  private barMs = -Infinity;
  private slowMs = 0;
  private frame = 0;
  private timer = 0;
  private planTimer = 0;
  private wasStill = false;
  private closePopup: (() => void) | null = null;
  private readonly endings: (() => void)[] = [];
  private readonly sized: ResizeObserver;

  constructor(
    readonly element: HTMLElement,
    readonly options: BoardOptions,
  ) {
    const client = options.client;
    this.timeline = new Timeline(
      () => toSeconds(client.nowNs()),
      (what) => this.moved(what),
    );
    this.look = new Look(client, (channel) => this.lookChanged(channel));
    element.classList.add("board");
    this.ink = readInk(element);
    this.bar = new Bar(this);
    element.append(this.bar.element, this.grid);
    this.sized = new ResizeObserver(() => this.arrange());
    this.sized.observe(this.grid);
    this.endings.push(
      client.onChannels((channels) => {
        this.rates.note(channels, performance.now());
        this.replan();
      }),
      client.onStatus((status) => {
        if (status.state === "open") this.askLook();
        this.wake();
      }),
    );
    this.bindDrop();
    const seen = (): void => this.wake();
    document.addEventListener("visibilitychange", seen);
    this.endings.push(() => document.removeEventListener("visibilitychange", seen));
    this.arrange();
    this.wake();
  }

  // ---- Board ----

  add(signal: Signal, where: "last" | "new" | number = "last"): void {
    let chart =
      typeof where === "number" ? this.charts[where] : where === "last" ? this.lastUsed : null;
    chart ??= where === "new" ? null : (this.charts[this.charts.length - 1] ?? null);
    if (!chart || !this.charts.includes(chart)) chart = this.newChart();
    chart.add(shown(signal.channel, signal.field, chart.signals));
    this.lastUsed = chart;
    this.changed("signals");
  }

  remove(signal: Signal): void {
    for (const chart of [...this.charts]) {
      const before = chart.signals.length;
      chart.remove(signal.channel, signal.field);
      if (before > 0 && chart.signals.length === 0) this.drop(chart);
    }
    this.changed("signals");
  }

  shown(): Signal[] {
    return this.charts.flatMap((chart) =>
      chart.signals.map(({ channel, field }) => ({ channel, field })),
    );
  }

  save(): URLSearchParams {
    return writeView(this.boardView());
  }

  restore(params: URLSearchParams): void {
    const view = readView(params);
    for (const chart of [...this.charts]) this.drop(chart);
    for (const described of view.charts) {
      const chart = this.newChart();
      for (const signal of described.signals)
        chart.add({ ...shown(signal.channel, signal.field, chart.signals), ...signal });
      for (const { key, min, max } of described.ranges) chart.axisState(key).fixed = { min, max };
    }
    this.columns = view.columns;
    this.stats = view.stats;
    this.dashes = view.dashes;
    setZone(view.utc ? "utc" : "local");
    this.timeline.length = view.length;
    this.timeline.a = view.a;
    this.timeline.b = view.b;
    this.timeline.selection = view.selection;
    if (view.span) this.timeline.show(view.span, "look");
    else this.timeline.goLive();
    this.changed("signals");
  }

  setTheme(): void {
    this.ink = readInk(this.element);
    for (const chart of this.charts) chart.rebuild();
    this.wake();
  }

  setVisible(visible: boolean): void {
    if (visible === this.visible) return;
    this.visible = visible;
    this.plan();
    this.wake();
  }

  key(event: KeyboardEvent): boolean {
    return boardKeys(this, event);
  }

  keys(): { keys: string; does: string }[] {
    return KEYS;
  }

  destroy(): void {
    cancelAnimationFrame(this.frame);
    clearTimeout(this.timer);
    clearTimeout(this.planTimer);
    this.sized.disconnect();
    this.endings.forEach((end) => end());
    this.look.clear();
    for (const chart of this.charts) chart.destroy();
    for (const entry of this.entries.values()) entry.close();
    this.element.replaceChildren();
  }

  // ---- charts ----

  newChart(): Chart {
    const chart = new Chart(this);
    this.charts.push(chart);
    this.grid.append(chart.element);
    this.lastUsed = chart;
    this.arrange();
    return chart;
  }

  private drop(chart: Chart): void {
    this.charts = this.charts.filter((other) => other !== chart);
    if (this.lastUsed === chart) this.lastUsed = this.charts[this.charts.length - 1] ?? null;
    if (this.hover?.chart === chart) this.hover = null;
    chart.destroy();
    this.arrange();
  }

  close(chart: Chart): void {
    this.drop(chart);
    this.changed("signals");
  }

  used(chart: Chart): void {
    if (this.lastUsed === chart) return;
    this.lastUsed = chart;
    chart.refreshTable();
    for (const other of this.charts)
      other.element.classList.toggle("used", other === chart && this.charts.length > 1);
  }

  /** Columns by the number of charts, the same gutters for all, moments spread over a pixel. */
  arrange(): void {
    const count = this.charts.length;
    const width = this.grid.clientWidth;
    const most = Math.max(1, Math.floor(width / 340));
    const wanted = this.columns || (count > 12 ? 4 : count > 8 ? 3 : count > 3 ? 2 : 1);
    const columns = Math.max(1, Math.min(wanted, most, Math.max(1, count)));
    this.grid.style.setProperty("--columns", String(columns));
    this.grid.classList.toggle("compact", width / columns < 720);
    this.grid.classList.toggle("empty", count === 0);
    const sides = this.charts.map((chart) => chart.sides());
    const left = Math.max(1, ...sides.map((s) => s.left));
    const right = Math.max(0, ...sides.map((s) => s.right));
    if (left !== this.gutters.left || right !== this.gutters.right) {
      this.gutters = { left, right };
      for (const chart of this.charts) chart.rebuild();
    }
    this.charts.forEach((chart, i) => (chart.phase = i / Math.max(1, count)));
    this.wake();
  }

  changed(what: "signals" | "look"): void {
    if (what === "signals") {
      this.arrange();
      clearTimeout(this.planTimer);
      this.planTimer = window.setTimeout(() => this.plan(), 30);
    }
    this.options.onChange();
    this.stale();
    this.wake();
  }

  private bindDrop(): void {
    const type = "application/x-flotilla-signal";
    this.element.addEventListener("dragover", (event) => {
      if (!event.dataTransfer?.types.includes(type)) return;
      event.preventDefault();
      event.dataTransfer.dropEffect = "copy";
    });
    this.element.addEventListener("drop", (event) => {
      const text = event.dataTransfer?.getData(type);
      if (!text) return;
      event.preventDefault();
      const at = this.charts.findIndex((chart) => chart.element.contains(event.target as Node));
      let where: "new" | number = at < 0 ? "new" : at;
      for (const signal of JSON.parse(text) as Signal[]) {
        this.add({ channel: String(signal.channel), field: String(signal.field) }, where);
        where = this.charts.indexOf(this.lastUsed!);
      }
    });
  }

  // ---- what is subscribed to and asked for ----

  private fieldsOf(): Map<string, string[]> {
    const fields = new Map<string, string[]>();
    for (const chart of this.charts)
      for (const { channel, field } of chart.signals) {
        const list = fields.get(channel) ?? [];
        if (!list.includes(field)) list.push(field);
        fields.set(channel, list);
      }
    return fields;
  }

  /** Live: seconds a pixel of the finest chart; NaN while none has been laid out. */
  private livePixel(): number {
    const widths = this.charts.map((chart) => chart.pixels).filter((pixels) => pixels > 1);
    return widths.length === 0 ? NaN : this.timeline.length / Math.max(...widths);
  }

  plan(): void {
    clearTimeout(this.planTimer);
    const pixel = this.livePixel();
    // Out of sight there is nothing to draw, but what is frozen, or waited for, is kept.
    const needed = this.visible || this.timeline.still || this.trigger;
    const fields = needed ? this.fieldsOf() : new Map<string, string[]>();
    for (const [channel, entry] of this.entries)
      if (!fields.has(channel)) {
        entry.close();
        this.entries.delete(channel);
        this.timeline.forget(channel);
      }
    if (fields.size > 0 && Number.isNaN(pixel)) {
      this.planTimer = window.setTimeout(() => this.plan(), 50);
      return;
    }
    for (const [channel, names] of fields) {
      const entry = this.entry(channel);
      const known = names.filter((name) => !entry.refused.has(name));
      if (known.length > 0) entry.apply(this.wantOf(channel, known, pixel));
    }
    this.askLook();
  }

  private wantOf(channel: string, fields: string[], pixel: number): Want {
    const now = this.entries.get(channel)?.active;
    const perPixel = this.rates.of(channel) * pixel;
    const single = perPixel < (now?.want.binNs === 0 ? 0.8 : 0.4) || pixel < 1e-3;
    const need =
      this.timeline.length + Math.max(0, Math.min(this.timeline.lag, this.timeline.length));
    return {
      channel,
      fields,
      binNs: single ? 0 : binNsFor(pixel),
      need,
      back: need * 1.15 + 2,
    };
  }

  private entry(channel: string): FeedEntry {
    let entry = this.entries.get(channel);
    if (!entry)
      this.entries.set(
        channel,
        (entry = new FeedEntry(this.options.client, this.feedEvents, () => this.trigger)),
      );
    return entry;
  }

  private readonly feedEvents: FeedEvents = {
    data: (channel, from, to) => this.dataCame(channel, from, to),
    newest: (channel, at) => {
      this.newest.set(channel, at);
      this.timeline.noteNewest(channel, at, performance.now());
    },
    latest: () => {},
    state: (channel) => {
      for (const chart of this.charts) if (chart.channels().includes(channel)) chart.rebuild();
      this.stale();
      this.arrange();
    },
    gap: () => {},
    refused: () => this.plan(),
    fired: (at) =>
      this.options.announce(
        `The trigger fired at ${new Date(Number(toNs(at) / 1_000_000n)).toISOString()}`,
      ),
  };

  private dataCame(channel: string, from: number, to: number): void {
    this.views.delete(channel);
    const still = this.timeline.still;
    if (still && (to < still.from || from > still.to)) return;
    for (const chart of this.charts)
      if (chart.signals.some((signal) => signal.channel === channel)) chart.touch(from);
  }

  private askLook(): void {
    const still = this.timeline.still;
    if (!still || !this.visible) return;
    const widths = this.charts.map((chart) => chart.pixels).filter((pixels) => pixels > 1);
    if (widths.length === 0) return;
    const wants = [...this.fieldsOf()].map(([channel, fields]) => {
      const refused = this.entries.get(channel)?.refused;
      return { channel, fields: fields.filter((field) => !refused?.has(field)) };
    });
    this.look.want(wants, still, (still.to - still.from) / Math.max(...widths));
  }

  private lookChanged(channel: string): void {
    this.views.delete(channel);
    for (const chart of this.charts)
      if (chart.channels().includes(channel)) {
        chart.touch(-Infinity);
        chart.refreshTable();
      }
    this.stale();
    this.wake();
  }

  // ---- ChartHost ----

  info(signal: Signal): FieldInfo | null {
    const entry = this.entries.get(signal.channel);
    const told = (entry?.active ?? entry?.next)?.subscribed;
    return (
      told?.fields.find((field) => field.name === signal.field) ?? this.options.fieldInfo(signal)
    );
  }

  /** Why there is nothing of a field; "". */
  refused(channel: string, field: string): string {
    return this.entries.get(channel)?.refused.get(field) ?? "";
  }

  latest(channel: string, field: string): unknown {
    return this.entries.get(channel)?.latest.get(field);
  }

  view(channel: string): ChannelView {
    let view = this.views.get(channel);
    if (!view) this.views.set(channel, (view = this.makeView(channel)));
    return view;
  }

  private makeView(channel: string): ChannelView {
    const entry = this.entries.get(channel);
    const feed = entry?.active;
    if (!entry) return NOTHING;
    const live: Piece | null = feed
      ? { source: feed.source, fields: feed.want.fields, from: -Infinity, to: Infinity }
      : null;
    if (!this.timeline.still)
      return {
        pieces: live ? [live] : [],
        usual: live?.source.spacing.usual ?? 0,
        gaps: entry.gaps.list,
      };
    return this.stillView(entry, channel, live);
  }

  // History where there is an answer, what was live when it was frozen around it, then what has
  // become since.
  private stillView(entry: FeedEntry, channel: string, live: Piece | null): ChannelView {
    const answer = this.look.get(channel);
    const frozen = this.frozen.get(channel) ?? null;
    const pieces: Piece[] = [];
    const later = (from: number): void => {
      if (frozen && frozen.source.newest > from) {
        pieces.push({ ...frozen, from, to: frozen.source.newest });
        from = frozen.source.newest;
      }
      if (live) pieces.push({ ...live, from });
    };
    let gaps: Missing[] = entry.gaps.list;
    if (answer?.source && !Number.isNaN(answer.source.newest)) {
      const end = Math.min(
        answer.span.to,
        answer.source.newest + (answer.source instanceof SampleRing ? 1e-9 : 0),
      );
      const before = frozen ?? live;
      if (before) pieces.push({ ...before, to: answer.span.from });
      pieces.push({
        source: answer.source,
        fields: answer.fields,
        from: answer.span.from,
        to: end,
      });
      later(end);
    } else later(-Infinity);
    if (answer && answer.gaps.length > 0) {
      const all = new GapList();
      for (const gap of [...answer.gaps, ...gaps]) all.add(gap);
      gaps = all.list;
    }
    const usual =
      answer?.source?.spacing.usual ||
      frozen?.source.spacing.usual ||
      live?.source.spacing.usual ||
      0;
    return { pieces, usual, gaps };
  }

  detail(channel: string): ReturnType<ChartHost["detail"]> {
    const entry = this.entries.get(channel);
    const feed = entry?.active;
    const told = feed?.subscribed;
    const answer = this.timeline.still ? this.look.get(channel) : null;
    const binNs = answer?.end ? Number(answer.end.binNs) : (feed?.want.binNs ?? NaN);
    const exact = answer?.end ? answer.end.exact : (told?.exact ?? true);
    let text = binNs > 0 ? `min–max of ${duration(binNs / 1e9)}` : "";
    if (binNs === 0) text = "every datum";
    if (!exact && text)
      text += told?.algorithm
        ? `, of the ${told.algorithm}: peaks may be missing`
        : ", not of all datums";
    if (feed && feed.skipped > 0)
      text += `, ${feed.skipped} left out: this browser does not keep up`;
    const status = this.options.client.status;
    const lag = this.timeline.edge() - (this.newest.get(channel) ?? NaN);
    const behind =
      status.state !== "open"
        ? status.reason || "not connected"
        : !this.timeline.still && lag > Math.max(2, this.timeline.length / 50)
          ? `nothing for ${duration(Math.round(lag))}`
          : "";
    return {
      text,
      peaks: exact,
      behind,
      trouble: feed?.trouble || this.look.error(channel),
      loading: this.timeline.still
        ? this.look.loading(channel)
        : !feed?.pastDone && !feed?.trouble && status.state === "open",
    };
  }

  popup(content: HTMLElement, anchor: HTMLElement): () => void {
    this.closePopup?.();
    const dialog = h("dialog", { class: "chart-popup" }, content);
    document.body.append(dialog);
    const close = (): void => {
      if (!dialog.isConnected) return;
      this.closePopup = null;
      dialog.remove();
      if (anchor.isConnected) anchor.focus();
    };
    dialog.addEventListener("close", close);
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) close();
    });
    this.closePopup = close;
    dialog.showModal();
    const box = anchor.getBoundingClientRect();
    dialog.style.left = `${Math.max(8, Math.min(innerWidth - dialog.offsetWidth - 8, box.left))}px`;
    const lowest = innerHeight - dialog.offsetHeight - 8;
    dialog.style.top = `${Math.max(8, Math.min(lowest, box.bottom + 4))}px`;
    return close;
  }

  announce(text: string): void {
    this.options.announce(text);
  }

  pointer(chart: Chart, at: number | null): void {
    const span = chart.span();
    this.hover = at === null ? null : { chart, share: (at - span.from) / (span.to - span.from) };
    this.timeline.setCursor(at);
  }

  /** The cursor was moved by a key: the pointer, wherever it rests, holds it no more. */
  unfollow(): void {
    this.hover = null;
  }

  // ---- commands ----

  arm(rule: TriggerRule | null): void {
    this.trigger = rule ? new Trigger(rule) : null;
    if (rule) this.timeline.goLive();
    this.wake();
  }

  openTrigger(anchor: HTMLElement): void {
    const close = this.popup(
      triggerDialog(this, () => close()),
      anchor,
    );
  }

  openSave(anchor: HTMLElement): void {
    const close = this.popup(
      saveDialog(this, () => close()),
      anchor,
    );
  }

  openPin(anchor: HTMLElement): void {
    const close = this.popup(
      pinDialog(this, () => close()),
      anchor,
    );
  }

  toggle(what: "stats" | "dashes" | "selecting"): void {
    this[what] = !this[what];
    for (const chart of this.charts) chart.touch(-Infinity);
    this.changed("look");
  }

  /** Waits until all that has come in of these channels is on the disk, where the span is so new;
   * false: it took too long. A status of the fleet that was made after now says what has come. */
  async recorded(channels: string[], to: number): Promise<boolean> {
    if (to < toSeconds(this.options.client.nowNs()) - RECORDED_S) return true;
    await new Promise((resolve) => setTimeout(resolve, STATUS_MS));
    const count = (name: string, key: string): number =>
      Number(this.options.client.channels?.find((channel) => channel.name === name)?.[key] ?? 0);
    const wanted = channels.map((name) => count(name, "datums_accepted"));
    for (let tries = 0; tries < RECORDED_S * 5; tries++) {
      const there = channels.every(
        (name, i) =>
          count(name, "datums_recorded") + count(name, "datums_unrecorded") >= wanted[i]!,
      );
      if (there) return true;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    return false;
  }

  /** What is visible of which channels and fields: what is saved. */
  visibleFields(): { channel: string; fields: string[] }[] {
    return [...this.fieldsOf()].map(([channel, fields]) => ({ channel, fields }));
  }

  private boardView(): BoardView {
    const { length, still, a, b, selection } = this.timeline;
    return {
      charts: this.charts.map((chart) => ({
        signals: chart.signals,
        ranges: [...chart.axisStates].flatMap(([key, { fixed }]) =>
          fixed ? [{ key, ...fixed }] : [],
        ),
      })),
      length,
      span: still,
      a,
      b,
      selection,
      columns: this.columns,
      stats: this.stats,
      dashes: this.dashes,
      utc: getZone() === "utc",
    };
  }

  // ---- time ----

  private moved(what: "view" | "cursor" | "marks"): void {
    if (what === "cursor") {
      for (const chart of this.charts) chart.showCursor();
      this.stale();
      this.wake();
      return;
    }
    const still = this.timeline.still !== null;
    if (still !== this.wasStill) this.freeze(still);
    this.views.clear();
    for (const chart of this.charts) {
      chart.touch(-Infinity);
      if (what === "view" && still) chart.refreshTable();
    }
    if (what === "view") {
      if (still) this.askLook();
      else {
        clearTimeout(this.planTimer);
        this.planTimer = window.setTimeout(() => this.plan(), 30);
      }
    }
    this.stale();
    this.options.onChange();
    this.wake();
  }

  // Live goes on in its ring, so what is visible now is kept aside.
  private freeze(still: boolean): void {
    this.wasStill = still;
    this.frozen.clear();
    if (!still) {
      this.look.clear();
      return;
    }
    for (const [channel, entry] of this.entries) {
      const feed = entry.active;
      if (feed)
        this.frozen.set(channel, {
          source: copyOf(feed.source),
          fields: feed.want.fields,
          from: -Infinity,
          to: Infinity,
        });
    }
  }

  /** Draws in the next frame. */
  wake(): void {
    clearTimeout(this.timer);
    if (this.frame === 0 && this.visible && !document.hidden)
      this.frame = requestAnimationFrame((now) => this.tick(now));
  }

  private tick(frameMs: number): void {
    this.frame = 0;
    const nowMs = performance.now();
    this.timeline.step(nowMs);
    for (const entry of this.entries.values()) entry.step(nowMs);
    this.checkTrigger();
    const left = this.drawDue(nowMs);
    this.followPointer();
    this.readouts(nowMs);
    this.next(frameMs, left);
  }

  private drawDue(nowMs: number): number {
    const count = this.charts.length;
    let left = 0;
    for (let i = 0; i < count; i++) {
      const at = (this.first + i) % count;
      const chart = this.charts[at]!;
      if (!chart.due(nowMs)) continue;
      if (performance.now() - nowMs > DRAW_MS) {
        if (left++ === 0) this.first = at;
        continue;
      }
      chart.draw(nowMs);
    }
    return left;
  }

  private followPointer(): void {
    if (!this.hover || this.timeline.still) return;
    const span = this.hover.chart.span();
    const at = span.from + this.hover.share * (span.to - span.from);
    if (at === this.timeline.cursor) return;
    this.timeline.cursor = at;
    for (const chart of this.charts) chart.showCursor();
  }

  // One chart's words a frame: to lay out those of all at once takes longer than a frame lasts.
  private readouts(nowMs: number): void {
    let oldest: Chart | null = null;
    for (const chart of this.charts)
      if (!oldest || chart.readoutMs < oldest.readoutMs) oldest = chart;
    if (oldest && nowMs - oldest.readoutMs >= this.readoutMs()) oldest.readouts(nowMs);
    if (nowMs - this.barMs >= BAR_MS) {
      this.barMs = nowMs;
      this.bar.update();
    }
    if (nowMs - this.slowMs > 5000 && !this.timeline.still) {
      this.slowMs = nowMs;
      this.lastUsed?.refreshTable();
    }
  }

  // Words cost more than curves where there are many.
  private readoutMs(): number {
    return this.charts.length > 8 ? 2 * READOUT_MS : READOUT_MS;
  }

  /** Words are to be written anew, soon. */
  private stale(): void {
    this.barMs = -Infinity;
    for (const chart of this.charts) chart.readoutMs = -Infinity;
  }

  // A channel has become so slow, or so fast, that datums or bins suit it better.
  private replan(): void {
    if (this.visible && !this.timeline.still) this.plan();
  }

  private checkTrigger(): void {
    const trigger = this.trigger;
    if (!trigger || Number.isNaN(trigger.fired) || this.timeline.still) return;
    const { length } = this.timeline;
    const to = trigger.fired + (1 - trigger.rule.place) * length;
    if (this.timeline.edge() < to) return;
    this.trigger = null;
    this.timeline.trigger = trigger.fired;
    this.timeline.show({ from: to - length, to }, "trigger");
    this.options.notify("The trigger fired: its window is frozen.", "info");
  }

  // The next frame, or, where nothing is due before, a timer: what hardly moves costs hardly
  // anything.
  private next(frameMs: number, left: number): void {
    if (!this.visible || document.hidden) return;
    if (left > 0) return this.wake();
    let wait = this.charts.some((chart) => chart.readoutMs === -Infinity) ? 0 : BAR_MS;
    wait = Math.min(wait, this.readoutMs() / Math.max(1, this.charts.length));
    if (!this.timeline.still)
      for (const chart of this.charts) {
        const at = this.timeline.edge() / chart.pixel + chart.phase;
        wait = Math.min(wait, (1 - (at - Math.floor(at))) * chart.pixel * 1000);
      }
    if (this.reduced.matches && !this.timeline.still) wait = 1000;
    if (wait < 30) return this.wake();
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.wake(), wait - 8);
    void frameMs;
  }
}

function copyOf(source: BinRing | SampleRing): BinRing | SampleRing {
  const copy =
    source instanceof BinRing
      ? new BinRing(source.widthNs, source.lo.length, source.capacity)
      : new SampleRing(source.values.length, source.capacity);
  copy.copyFrom(source as never);
  return copy;
}
