// SPDX-License-Identifier: MIT
// What was recorded: answers to `history`, one a channel, for a view and half of it on both sides,
// so that one can move within. What is there stays until something better has come; a question that
// another has overtaken is cancelled.

import type { HistoryEnd, HistoryQuery, LiveClient } from "../live";
import type { Missing } from "./gaps";
import { BinRing, SampleRing } from "./ring";
import { toNs, toSeconds } from "./time";
import type { Span } from "./timeline";

export interface Answer {
  fields: string[];
  span: Span; // that was asked for
  source: BinRing | SampleRing | null; // null: nothing was recorded
  gaps: Missing[];
  end: HistoryEnd | null;
}

interface Asked {
  shown: Answer | null;
  query: HistoryQuery | null;
  wanted: { span: Span; pixel: number; fields: string[] } | null;
  error: string;
}

const ASK_MS = 120; // at most so often while a view moves

export class Look {
  private channels = new Map<string, Asked>();
  private askedMs = -Infinity;
  private timer = 0;
  private waiting: (() => void) | null = null;

  constructor(
    private readonly client: LiveClient,
    private readonly changed: (channel: string) => void,
  ) {}

  get(channel: string): Answer | null {
    return this.channels.get(channel)?.shown ?? null;
  }
  loading(channel: string): boolean {
    return (this.channels.get(channel)?.query ?? null) !== null || this.waiting !== null;
  }
  error(channel: string): string {
    return this.channels.get(channel)?.error ?? "";
  }

  /** Asks for what the view lacks. `pixel`: seconds. */
  want(wants: { channel: string; fields: string[] }[], view: Span, pixel: number): void {
    const ask = (): void => {
      this.waiting = null;
      this.askedMs = performance.now();
      for (const { channel, fields } of wants) this.ask(channel, fields, view, pixel);
    };
    clearTimeout(this.timer);
    const since = performance.now() - this.askedMs;
    if (since >= ASK_MS) return ask();
    this.waiting = ask;
    this.timer = window.setTimeout(ask, ASK_MS - since);
  }

  private ask(channel: string, fields: string[], view: Span, pixel: number): void {
    let asked = this.channels.get(channel);
    if (!asked)
      this.channels.set(channel, (asked = { shown: null, query: null, wanted: null, error: "" }));
    if (covers(asked, fields, view, pixel)) return;
    asked.query?.cancel();
    const half = (view.to - view.from) / 2;
    const span = { from: view.from - half, to: view.to + half };
    asked.wanted = { span, pixel, fields };
    asked.error = "";
    this.query(channel, asked, Math.min(20000, Math.ceil((span.to - span.from) / pixel)));
    this.changed(channel);
  }

  private query(channel: string, asked: Asked, points: number): void {
    const { span, fields } = asked.wanted!;
    let coming: Answer | null = null;
    const begin = (source: BinRing | SampleRing): Answer =>
      (coming = { fields, span, source, gaps: [], end: null });
    const there = (last: boolean): void => {
      if (!last || !coming) return;
      asked.shown = coming;
      this.changed(channel);
    };
    asked.query = this.client.history(
      { channel, fields, from: toNs(span.from), to: toNs(span.to), points },
      {
        onBins: (bins) => {
          const rows = (span.to - span.from) / (Number(bins.width) / 1e9) + 8;
          if (bins.first || !coming) begin(new BinRing(bins.width, fields.length, rows));
          const source = coming!.source;
          if (source instanceof BinRing && source.widthNs === bins.width)
            source.merge(bins.t0, bins.rows, bins.min, bins.max);
          there(bins.last);
        },
        onSamples: (samples) => {
          if (samples.first || !coming)
            begin(new SampleRing(fields.length, Math.max(256, 2 * points)));
          const source = coming!.source;
          if (source instanceof SampleRing)
            source.merge(samples.t0, samples.rows, samples.seconds, samples.values);
          there(samples.last);
        },
        onEnd: (end) => {
          const answer: Answer = coming ?? {
            fields,
            span,
            source: null,
            gaps: [],
            end: null,
          };
          answer.end = end;
          answer.gaps = end.gaps.map((gap) => ({
            from: toSeconds(gap.from),
            to: toSeconds(gap.to),
            reason: gap.reason,
            count: gap.count,
          }));
          asked.shown = answer;
          asked.query = null;
          this.changed(channel);
        },
        onError: (text) => {
          asked.query = null;
          asked.wanted = null;
          asked.error = text;
          this.changed(channel);
        },
      },
    );
  }

  /** Back to live: nothing of it is needed. */
  clear(): void {
    clearTimeout(this.timer);
    this.waiting = null;
    for (const asked of this.channels.values()) asked.query?.cancel();
    this.channels.clear();
  }
}

// Whether what was asked for, or is there, is as good as what would be asked for now.
function covers(asked: Asked, fields: string[], view: Span, pixel: number): boolean {
  const wanted = asked.wanted;
  if (!wanted || !fields.every((field) => wanted.fields.includes(field))) return false;
  const slack = (view.to - view.from) * 1e-6;
  if (view.from < wanted.span.from - slack || view.to > wanted.span.to + slack) return false;
  const end = asked.query ? null : asked.shown?.end;
  if (end && end.binNs === 0n) return true;
  const fine = pixel >= wanted.pixel * 0.7;
  const coarseEnough = wanted.span.to - wanted.span.from < (view.to - view.from) * 12;
  return fine && coarseEnough;
}
