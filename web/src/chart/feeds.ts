// SPDX-License-Identifier: MIT
// What is live: one subscription a channel, whatever number of charts show it. A new one (other
// fields, another width) runs beside the old until its past is there, so that nothing flickers.

import type {
  Bins,
  Channel,
  HistoryQuery,
  LiveClient,
  Samples,
  Subscribed,
  Subscription,
} from "../live";
import { GapList } from "./gaps";
import { BinRing, SampleRing } from "./ring";
import { binOf, toNs, toSeconds } from "./time";
import type { Trigger } from "./trigger";

export interface Want {
  channel: string;
  fields: string[];
  binNs: number; // 0: single datums
  need: number; // seconds
  back: number; // that are asked for, a little more
}

const SAMPLES = 8192;
const NEXT_MS = 2000;
const SYNC_MS = 2500; // what has just come is not in a recording yet: asked for once it is

export interface FeedEvents {
  data(channel: string, from: number, to: number): void;
  newest(channel: string, at: number): void;
  latest(channel: string): void;
  state(channel: string): void;
  gap(channel: string): void;
  fired(at: number): void;
  refused(channel: string): void;
}

export class Feed {
  source: BinRing | SampleRing;
  subscribed: Subscribed | null = null;
  trouble = ""; // why nothing comes
  skipped = 0;
  pastDone = false;
  refused = false; // another is to stand for it
  readonly begun = performance.now();
  private subscription: Subscription;
  private past: HistoryQuery | null = null;
  private liveFrom = Infinity; // the first datum since this connection
  private timer = 0;

  constructor(
    private readonly client: LiveClient,
    readonly want: Want,
    private readonly all: FeedEntry,
    private readonly events: FeedEvents,
  ) {
    this.source =
      want.binNs === 0
        ? new SampleRing(want.fields.length, SAMPLES)
        : new BinRing(
            BigInt(want.binNs),
            want.fields.length,
            (want.back * 1.25e9) / want.binNs + 128,
          );
    this.subscription = client.subscribe(
      {
        channel: want.channel,
        fields: want.fields,
        binNs: BigInt(want.binNs),
        // Of single datums history has the past.
        backNs: want.binNs === 0 ? 0n : BigInt(Math.ceil(want.back * 1000)) * 1_000_000n,
        latest: true,
      },
      {
        onSubscribed: (what) => this.onSubscribed(what),
        onBins: (bins) => this.onBins(bins),
        onSamples: (samples) => this.onSamples(samples),
        onPast: () => this.onPast(),
        onLatest: (at, values) => this.onLatest(toSeconds(at), values),
        onGap: (gap) => this.onGap(toSeconds(gap.from), toSeconds(gap.to), gap.reason, gap.count),
        onSkipped: (datums) => {
          this.skipped += datums;
          events.state(want.channel);
        },
        onEnded: (reason) => this.onTrouble(reason),
        onError: (text) => this.onRefused(text),
      },
    );
  }

  close(): void {
    this.subscription.close();
    this.past?.cancel();
    clearTimeout(this.timer);
  }

  private onSubscribed(what: Subscribed): void {
    this.subscribed = what;
    this.trouble = "";
    const now = toSeconds(this.client.nowNs());
    if (this.source instanceof SampleRing) this.liveFrom = Infinity;
    if (this.want.binNs === 0) this.askPast(now - this.want.back, now + 1);
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.askPast(now - 6, now + 1), SYNC_MS);
    this.events.state(this.want.channel);
  }

  // One field that is none, of an old address perhaps, is not to cost the others.
  private onRefused(text: string): void {
    const named = this.want.fields.filter((field) => text.includes(`"${field}"`));
    if (named.length === 0 || named.length === this.want.fields.length) return this.onTrouble(text);
    for (const field of named) this.all.refused.set(field, text);
    this.refused = true;
    this.events.refused(this.want.channel);
  }

  private onTrouble(text: string): void {
    this.trouble = text;
    this.events.state(this.want.channel);
  }

  /** What was recorded in a span, into what is live; of bins only such as fit into those here. */
  private askPast(from: number, to: number): void {
    this.past?.cancel();
    const { channel, fields, binNs } = this.want;
    const points = binNs === 0 ? SAMPLES : Math.ceil(((to - from) * 1e9) / binNs);
    const recorded: Samples[] = [];
    const done = (): void => {
      this.past = null;
      if (binNs === 0) this.onPast();
    };
    this.past = this.client.history(
      { channel, fields, from: toNs(from), to: toNs(to), points },
      {
        onBins: (bins) => this.takePast(bins),
        onSamples: (samples) => {
          if (samples.first) recorded.length = 0;
          recorded.push(copyOf(samples));
          this.takeSamples(samples);
        },
        onEnd: (end) => {
          this.replacePast(recorded);
          for (const gap of end.gaps)
            this.onGap(toSeconds(gap.from), toSeconds(gap.to), gap.reason, gap.count);
          done();
        },
        onError: done,
      },
    );
  }

  // Where the axis is the arrival, a recording knows it only roughly: it stands for what was live,
  // too, or datums would be there twice.
  private replacePast(recorded: Samples[]): void {
    if (!(this.source instanceof SampleRing) || recorded.length === 0) return;
    const times = recorded.flatMap(({ t0, seconds }) => {
      const base = toSeconds(t0);
      return Array.from(seconds, (second) => base + second);
    });
    const values = this.want.fields.map((_, f) =>
      Float64Array.from(recorded.flatMap((part) => Array.from(part.values[f]!))),
    );
    const until = this.subscribed?.clock === "arrival" ? Infinity : this.liveFrom;
    const changed = this.source.replace(Float64Array.from(times), values, until);
    if (changed) this.tell(changed[0], changed[1]);
  }

  private takePast(bins: Bins): void {
    const ring = this.source;
    if (!(ring instanceof BinRing) || ring.widthNs % bins.width !== 0n) return;
    const times = Number(ring.widthNs / bins.width);
    const start = binOf(bins.t0, bins.width);
    const first = Math.floor(start / times);
    const rows = Math.floor((start + bins.rows - 1) / times) - first + 1;
    const gather = (
      columns: Float64Array[],
      better: (a: number, b: number) => boolean,
    ): Float64Array[] =>
      columns.map((column) => {
        const out = new Float64Array(rows).fill(NaN);
        column.forEach((value, i) => {
          const row = Math.floor((start + i) / times) - first;
          if (Number.isNaN(out[row]!) || better(value, out[row]!)) out[row] = value;
        });
        return out;
      });
    this.tellMerged(
      ring.mergeAt(
        first,
        rows,
        gather(bins.min, (a, b) => a < b),
        gather(bins.max, (a, b) => a > b),
      ),
    );
  }

  private takeSamples(samples: Samples): void {
    const ring = this.source;
    if (ring instanceof SampleRing) return;
    const base = toSeconds(samples.t0);
    for (let i = 0; i < samples.rows; i++) {
      const row = samples.values.map((column) => column.subarray(i, i + 1));
      this.tellMerged(
        ring.mergeAt(Math.floor((base + samples.seconds[i]!) / ring.width), 1, row, row),
      );
    }
  }

  private tellMerged(changed: [number, number] | null): void {
    const width = (this.source as BinRing).width;
    if (changed) this.tell(changed[0] * width, changed[1] * width);
  }

  private onPast(): void {
    this.pastDone = true;
    this.all.past(this);
  }

  private onLatest(at: number, values: Record<string, unknown>): void {
    this.all.latestAt = at;
    for (const name in values) this.all.latest.set(name, values[name]);
    this.events.latest(this.want.channel);
  }

  private onGap(from: number, to: number, reason: string, count: number | null): void {
    this.all.gaps.add({ from, to, reason, count });
    this.events.gap(this.want.channel);
    this.events.data(this.want.channel, from, to);
  }

  private onBins(bins: Bins): void {
    if (!(this.source instanceof BinRing)) return;
    if (bins.width !== this.source.widthNs) bins = spread(bins, this.source.widthNs);
    const changed = this.source.merge(bins.t0, bins.rows, bins.min, bins.max);
    if (!changed) return;
    const width = this.source.width;
    if (!bins.past) {
      this.tellNewest(this.source.newest);
      const start = binOf(bins.t0, bins.width);
      this.all.look(this, bins.rows, (i) => (start + i + 0.5) * width, bins.min, bins.max);
    }
    this.tell(changed[0] * width, changed[1] * width);
  }

  private onSamples(samples: Samples): void {
    if (!(this.source instanceof SampleRing)) return;
    const before = this.source.newest;
    const changed = this.source.merge(samples.t0, samples.rows, samples.seconds, samples.values);
    if (!changed) return;
    const base = toSeconds(samples.t0);
    if (this.liveFrom === Infinity) this.liveFrom = changed[0];
    if (!(changed[0] <= before)) {
      this.tellNewest(this.source.newest);
      this.all.look(
        this,
        samples.rows,
        (i) => base + samples.seconds[i]!,
        samples.values,
        samples.values,
      );
    }
    this.tell(changed[0], changed[1]);
  }

  private tellNewest(at: number): void {
    if (!Number.isNaN(at)) this.events.newest(this.want.channel, at);
  }

  private tell(from: number, to: number): void {
    if (this.all.active === this) this.events.data(this.want.channel, from, to);
  }
}

/** A channel that is looked at. */
export class FeedEntry {
  active: Feed | null = null;
  next: Feed | null = null;
  readonly gaps = new GapList();
  readonly latest = new Map<string, unknown>();
  latestAt = NaN;
  readonly refused = new Map<string, string>(); // fields, and why

  constructor(
    private readonly client: LiveClient,
    private readonly events: FeedEvents,
    private readonly trigger: () => Trigger | null,
  ) {}

  apply(want: Want): void {
    const last = this.next ?? this.active;
    const now = last?.want;
    const covered =
      now &&
      !last.refused &&
      now.binNs === want.binNs &&
      now.back >= want.need &&
      now.back <= want.back * 4 &&
      want.fields.every((field) => now.fields.includes(field));
    if (covered) return;
    this.next?.close();
    this.next = null;
    const feed = new Feed(this.client, want, this, this.events);
    if (this.active && !this.active.refused) this.next = feed;
    else {
      this.active?.close();
      this.active = feed;
    }
  }

  /** Where the past of the next takes too long, what there is of it is shown. */
  step(nowMs: number): void {
    if (this.next && nowMs - this.next.begun > NEXT_MS) this.past(this.next);
  }

  past(feed: Feed): void {
    if (feed !== this.next) return;
    const old = this.active;
    this.active = feed;
    this.next = null;
    if (old) {
      old.close();
      carry(old, feed);
    }
    this.events.state(feed.want.channel);
    this.events.data(feed.want.channel, -Infinity, Infinity);
  }

  look(
    feed: Feed,
    rows: number,
    at: (row: number) => number,
    lo: Float64Array[],
    hi: Float64Array[],
  ): void {
    const trigger = this.trigger();
    if (!trigger || feed !== (this.active ?? feed) || trigger.rule.channel !== feed.want.channel)
      return;
    const column = feed.want.fields.indexOf(trigger.rule.field);
    if (column < 0) return;
    for (let i = 0; i < rows; i++)
      if (trigger.see(at(i), lo[column]![i]!, hi[column]![i]!))
        return this.events.fired(trigger.fired);
  }

  close(): void {
    this.active?.close();
    this.next?.close();
  }
}

// Messages are views of what the socket gave.
function copyOf(samples: Samples): Samples {
  return {
    ...samples,
    seconds: samples.seconds.slice(0, samples.rows),
    values: samples.values.map((column) => column.slice(0, samples.rows)),
  };
}

// A gateway that has put bins together, for a client that is slow: a wide one counts for all that
// it covers.
function spread(bins: Bins, widthNs: bigint): Bins {
  const times = Number(bins.width / widthNs);
  if (times < 1 || bins.width % widthNs !== 0n || bins.rows * times > 1e6)
    return { ...bins, rows: 0, width: widthNs };
  const wide = (column: Float64Array): Float64Array => {
    const out = new Float64Array(bins.rows * times);
    for (let i = 0; i < bins.rows; i++) out.fill(column[i]!, i * times, (i + 1) * times);
    return out;
  };
  return {
    ...bins,
    rows: bins.rows * times,
    width: widthNs,
    min: bins.min.map(wide),
    max: bins.max.map(wide),
  };
}

// What the old one held: of a channel that is not recorded there is no other past.
function carry(old: Feed, to: Feed): void {
  const from = old.source;
  const ring = to.source;
  if (!(from instanceof BinRing) || !(ring instanceof BinRing)) return;
  if (ring.widthNs % from.widthNs !== 0n) return;
  const times = Number(ring.widthNs / from.widthNs);
  const first = Math.ceil(from.first / times);
  const rows = Math.floor(from.end / times) - first;
  if (rows <= 0) return;
  const none = new Float64Array(rows).fill(NaN);
  const min: Float64Array[] = [];
  const max: Float64Array[] = [];
  for (const field of to.want.fields) {
    const column = old.want.fields.indexOf(field);
    if (column < 0) {
      min.push(none);
      max.push(none);
      continue;
    }
    const lo = new Float64Array(rows).fill(NaN);
    const hi = new Float64Array(rows).fill(NaN);
    for (let bin = first * times; bin < (first + rows) * times; bin++) {
      const slot = from.slot(bin);
      const row = Math.floor(bin / times) - first;
      if (!(lo[row]! <= from.lo[column]![slot]!)) lo[row] = from.lo[column]![slot]!;
      if (!(hi[row]! >= from.hi[column]![slot]!)) hi[row] = from.hi[column]![slot]!;
    }
    min.push(lo);
    max.push(hi);
  }
  ring.mergeAt(first, rows, min, max);
}

/** Datums a second, by the counters of the fleet's state. */
export class Rates {
  private last = new Map<string, { at: number; count: number }>();
  private rate = new Map<string, number>();

  note(channels: Channel[] | null, nowMs: number): void {
    for (const channel of channels ?? []) {
      const count = Number(channel["datums_accepted"]);
      if (!Number.isFinite(count)) continue;
      const before = this.last.get(channel.name);
      if (before && nowMs - before.at < 900) continue;
      if (before && count >= before.count) {
        const now = ((count - before.count) * 1000) / (nowMs - before.at);
        const was = this.rate.get(channel.name);
        this.rate.set(channel.name, was === undefined ? now : was + 0.5 * (now - was));
      }
      this.last.set(channel.name, { at: nowMs, count });
    }
  }

  of(channel: string): number {
    return this.rate.get(channel) ?? NaN;
  }
}
