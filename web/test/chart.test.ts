// SPDX-License-Identifier: MIT
// The charts' arithmetic against plain models of it: bins kept in a ring against a map, gaps,
// triggers, statistics, the axis of time, views as addresses. Run by tests/test_page_units.py.
import assert from "node:assert/strict";
import { test } from "node:test";
import { parted, GapList } from "../src/chart/gaps";
import { dashAt, DASHES } from "../src/chart/palette";
import { extent, heldAt, moments, silences, statistics } from "../src/chart/pieces";
import { BinRing, SampleRing } from "../src/chart/ring";
import { AutoRange, niceRange, number } from "../src/chart/scale";
import {
  binNsFor, binOf, duration, ORIGIN, readDuration, rfc3339, setZone, timeStep, timeTicks, toNs,
  toSeconds, tickLabel,
} from "../src/chart/time";
import { Timeline } from "../src/chart/timeline";
import { Trigger } from "../src/chart/trigger";
import { readView, writeView } from "../src/chart/view";

function random(seed: number): () => number {
  return () => (seed = (seed * 48271) % 2147483647) / 2147483647;
}

const WIDTH = 10_000_000n;

test("moments are kept to the nanosecond for weeks", () => {
  const draw = random(1);
  for (let i = 0; i < 2000; i++) {
    const ns = ORIGIN + BigInt(Math.floor((draw() - 0.5) * 4e15));
    const back = toNs(toSeconds(ns));
    assert.ok(back - ns <= 1n && ns - back <= 1n, `${ns} ${back}`);
  }
});

test("bins are those of absolute time, whatever their width", () => {
  for (const width of [1, 2, 5, 10, 500, 2000, 2_000_000].map((ms) => BigInt(ms) * 1_000_000n)) {
    assert.equal(ORIGIN % width, 0n);
    for (const ns of [ORIGIN - 1n, ORIGIN, ORIGIN + 7n * width - 1n, ORIGIN - 3n * width])
      assert.equal(binOf(ns, width), Number(ns / width - ORIGIN / width));
  }
});

test("the widest bin of the series that a pixel holds", () => {
  for (const [pixel, wanted] of [[0.14, 100e6], [0.001, 1e6], [0.0001, 1e6], [0.02, 20e6],
    [0.0499, 20e6], [1e5, 2e12]] as const)
    assert.equal(binNsFor(pixel), wanted);
});

test("a ring holds what a map would, the newest of it", () => {
  const draw = random(7);
  const ring = new BinRing(WIDTH, 2, 64);
  const model = new Map<number, [number, number][]>();
  let at = 1000;
  for (let i = 0; i < 800; i++) {
    at += draw() < 0.02 ? Math.floor(draw() * 200) : Math.floor(draw() * 4);
    const start = at - Math.floor(draw() * 30);
    const rows = 1 + Math.floor(draw() * 20);
    const some = (): number => (draw() < 0.3 ? NaN : draw());
    const lo = [0, 1].map(() => Float64Array.from({ length: rows }, some));
    const hi = lo.map((column) => column.map((value) => value + draw()));
    ring.mergeAt(start, rows, lo, hi);
    for (let row = 0; row < rows; row++) {
      const pairs = model.get(start + row) ?? [[NaN, NaN], [NaN, NaN]];
      pairs.forEach((pair, f) => {
        if (Number.isNaN(lo[f]![row]!)) return;
        if (!(pair[0] <= lo[f]![row]!)) pair[0] = lo[f]![row]!;
        if (!(pair[1] >= hi[f]![row]!)) pair[1] = hi[f]![row]!;
      });
      model.set(start + row, pairs as [number, number][]);
    }
    assert.ok(ring.end - ring.first <= ring.capacity);
  }
  let compared = 0;
  for (let bin = ring.first; bin < ring.end; bin++)
    for (let f = 0; f < 2; f++) {
      const wanted = model.get(bin)?.[f] ?? [NaN, NaN];
      const slot = ring.slot(bin);
      assert.deepEqual([ring.lo[f]![slot], ring.hi[f]![slot]], wanted, `${bin}`);
      compared++;
    }
  assert.ok(compared >= 64);
});

test("datums are in order, and what was recorded replaces what was live", () => {
  const ring = new SampleRing(1, 1000);
  const seconds = (from: number, to: number): Float64Array =>
    Float64Array.from({ length: to - from }, (_, i) => (from + i) / 100);
  const add = (from: number, to: number): void => {
    ring.merge(ORIGIN, to - from, seconds(from, to), [seconds(from, to).map((s) => s * 2)]);
  };
  const fill = (from: number, to: number, until: number): void => {
    const times = seconds(from, to).map((s) => s + toSeconds(ORIGIN));
    ring.replace(times, [seconds(from, to).map((s) => s * 2)], until);
  };
  add(300, 400);
  fill(0, 320, 3); // the live ones from 300 on stay
  add(400, 450);
  fill(100, 320, 3); // asked again
  fill(440, 450, Infinity);
  assert.equal(ring.length, 450);
  for (let i = 0; i < 450; i++) {
    assert.ok(Math.abs(ring.times[i]! - i / 100) < 1e-9);
    assert.ok(Math.abs(ring.values[0]![i]! - i / 50) < 1e-9);
  }
  // Two of one moment are two.
  const twins = new SampleRing(1, 10);
  twins.merge(ORIGIN, 2, Float64Array.from([1, 1]), [Float64Array.from([7, 8])]);
  twins.merge(ORIGIN, 2, Float64Array.from([0.5, 1]), [Float64Array.from([6, 9])]);
  assert.deepEqual([...twins.values[0]!.slice(0, twins.length)], [6, 7, 8, 9]);
  for (let i = 450; i < 9000; i += 50) add(i, i + 50);
  assert.ok(ring.length >= 1000 && ring.length <= 2000);
  assert.ok(Math.abs(ring.newest - 89.99) < 1e-9);
});

function ringOf(values: (number | null)[]): BinRing {
  const ring = new BinRing(WIDTH, 1, 256);
  const column = Float64Array.from(values, (value) => value ?? NaN);
  ring.mergeAt(0, values.length, [column], [column]);
  return ring;
}

test("what held, what is visible, what is missing", () => {
  const values = Array.from({ length: 100 }, (_, i) => (i >= 50 && i < 60 ? null : i));
  const ring = ringOf(values);
  const view = {
    pieces: [{ source: ring, fields: ["x"], from: -Infinity, to: Infinity }],
    usual: ring.spacing.usual, gaps: [],
  };
  assert.ok(Math.abs(view.usual - 0.01) < 1e-12);
  assert.equal(heldAt(view, "x", 0.205)?.lo, 20);
  assert.equal(heldAt(view, "x", 0.51)?.lo, 49); // still held, a bin later
  assert.equal(heldAt(view, "x", 0.56), null); // in the gap
  assert.equal(heldAt(view, "other", 0.2), null);
  const all = statistics(view, "x", 0, 1);
  const there = values.filter((v) => v !== null) as number[];
  assert.equal(all.count, there.length);
  assert.ok(Math.abs(all.mean - there.reduce((a, b) => a + b) / there.length) < 1e-9);
  assert.deepEqual([all.min, all.max, all.bins], [0, 99, true]);
  assert.deepEqual(extent(view, "x", 0.2, 0.3), [20, 29]);
  assert.equal(moments(view, "x", 0, 1, 1000).values.length, there.length);
  const quiet = silences(view, 0, 1, 1);
  assert.equal(quiet.length, 1);
  assert.ok(Math.abs(quiet[0]!.from - 0.495) < 1e-9 && Math.abs(quiet[0]!.to - 0.605) < 1e-9);
  assert.equal(quiet[0]!.reason, "nothing came");
  const told = { ...view, gaps: [{ from: 0.5, to: 0.6, reason: "the kernel dropped", count: 10 }] };
  assert.deepEqual(silences(told, 0, 1, 1)[0]!.reason, "the kernel dropped");
});

test("no line across a gap, by its length or by what is known", () => {
  assert.equal(parted(0, 0.031, 0.01, []), true);
  assert.equal(parted(0, 0.03, 0.01, []), false);
  const gaps = new GapList();
  for (let i = 0; i < 1000; i++)
    gaps.add({ from: i, to: i + 0.4, reason: "lost", count: 1 });
  for (let i = 0; i < 1000; i++) {
    assert.equal(parted(i - 0.1, i + 0.5, 0, gaps.list), true);
    assert.equal(parted(i + 0.45, i + 0.9, 0, gaps.list), false);
  }
  gaps.add({ from: 5, to: 5.5, reason: "lost", count: 3 }); // the same, which has grown
  assert.equal(gaps.list.length, 1000);
  assert.deepEqual(gaps.within(5.1, 5.2).map((gap) => gap.count), [3]);
});

test("a trigger sees edges of datums and inside bins, once", () => {
  const rule = { channel: "a", field: "x", level: 5, edge: "rising" as const, place: 0.5 };
  const rising = new Trigger(rule);
  assert.deepEqual([1, 9, 1, 9].map((v, i) => rising.see(i, v, v)), [false, true, false, false]);
  assert.equal(rising.fired, 1);
  const falling = new Trigger({ ...rule, edge: "falling" });
  assert.deepEqual([1, 9, 1].map((v, i) => falling.see(i, v, v)), [false, false, true]);
  assert.equal(new Trigger(rule).see(3, 2, 7), true); // the edge is in the bin
  assert.equal(new Trigger(rule).see(3, 6, 7), false); // it was above from the first
  const either = new Trigger({ ...rule, edge: "either" });
  assert.equal(either.see(0, NaN, NaN), false);
});

test("ranges are round, grow at once and shrink late", () => {
  for (const [lo, hi] of [[0, 1], [-3, 97], [1e-9, 2e-9], [5, 5], [0, 0], [-1e12, 1e12]] as const) {
    const { min, max } = niceRange(lo, hi);
    assert.ok(min <= lo && max >= hi && min < max, `${lo} ${hi}: ${min} ${max}`);
  }
  const range = new AutoRange();
  assert.equal(range.update(0, 10, 0), true);
  assert.equal(range.update(0, 9.5, 100), false);
  assert.equal(range.update(0, 20, 200), true);
  assert.equal(range.update(0, 1, 300), false);
  assert.equal(range.update(0, 1, 1000), false);
  assert.equal(range.update(0, 1, 2000), true);
  assert.ok(range.range!.max < 3);
});

test("labels of time", () => {
  setZone("utc");
  assert.equal(timeStep(60, 7), 10);
  assert.equal(timeStep(0.5, 7), 0.1);
  assert.equal(timeStep(86400 * 3, 7), 43200);
  const day = Number((1_000_000_000_000_000n - ORIGIN) / 1_000_000_000n); // any moment
  for (const step of [0.1, 1, 30, 3600, 86400]) {
    const ticks = timeTicks(day, day + step * 6, step);
    assert.ok(ticks.length >= 6 && ticks.length <= 7);
    for (const tick of ticks) {
      const ns = toNs(tick);
      const by = BigInt(Math.round(step * 1e9));
      const off = ((ns % by) + by) % by;
      assert.ok(off < 1000n || by - off < 1000n, `${step} ${ns}`);
    }
  }
  assert.match(tickLabel(day, 1), /^\d\d:\d\d:\d\d$/);
  for (const text of ["250ms", "10s", "5min", "2h", "1d"])
    assert.equal(duration(readDuration(text)!).replace(" ", ""), text);
  assert.equal(readDuration("ten"), null);
  assert.equal(number(0.000123456), "0.00012346");
  assert.equal(number(0.03), "0.0300");
  assert.equal(number(-1234.5), "−1234.5");
});

test("a dash is on and off by its place alone", () => {
  for (const dash of DASHES.slice(1)) {
    const period = dash.reduce((a, b) => a + b);
    for (let x = -50; x < 50; x++)
      assert.equal(dashAt(dash, x).on, dashAt(dash, x + period).on);
    assert.ok([...Array(period).keys()].some((x) => !dashAt(dash, x).on));
  }
  assert.equal(dashAt([], 17).on, true);
});

test("a view is an address and back; what is strange is ignored", () => {
  const at = toSeconds(1796074927049123456n);
  const text = writeView({
    charts: [{
      signals: [
        { channel: "engine", field: "cylinders[0]", colour: 0, dash: null, axis: 0, low: null,
          high: null },
        { channel: "imu", field: "gyro.x", colour: 3, dash: 2, axis: 1, low: -1.5, high: 7000 },
      ],
      ranges: [{ key: "u1/min", min: -1, max: 9000 }],
    }],
    length: 60, span: { from: at, to: at + 1.5 }, a: at, b: null,
    selection: { from: at, to: at + 1 }, columns: 2, stats: true, dashes: false, utc: true,
  }).toString();
  const view = readView(new URLSearchParams(text));
  assert.equal(writeView(view).toString(), text);
  assert.equal(rfc3339(toNs(view.span!.from)), "2026-11-30T21:42:07.049123456Z");
  assert.deepEqual(view.charts[0]!.signals[1]!.high, 7000);
  const strange = readView(new URLSearchParams(
    "c=<b>:x,engine:a;b,engine:ok~c99~zz&window=-3s&from=2026&to=x&y=7:1:2:u&a=now&columns=99"));
  assert.deepEqual(strange.charts.map((chart) => chart.signals.map((s) => s.field)), [["ok"]]);
  assert.deepEqual([strange.length, strange.span, strange.a, strange.columns], [60, null, null, 0]);
});

test("the edge follows what comes, steadily", () => {
  let now = 100;
  const timeline = new Timeline(() => now, () => {});
  let last = NaN;
  for (let ms = 0; ms < 20_000; ms += 16) {
    now = 100 + ms / 1000;
    // Windows of half a second, 0.2 s late; from 10 s on, 0.5 s later still.
    const late = 0.2 + (ms > 10_000 ? 0.5 : 0);
    if (ms % 496 < 16) timeline.noteNewest("a", now - late, ms);
    timeline.step(ms);
    const edge = timeline.edge();
    if (ms > 2000) {
      const speed = (edge - last) / 0.016;
      assert.ok(speed > 0.7 && speed < 1.3, `${ms}: ${speed}`);
    }
    last = edge;
  }
  assert.ok(Math.abs(timeline.lag - 1.23) < 0.1, `${timeline.lag}`);
  timeline.pause();
  const frozen = timeline.still!;
  now += 5;
  assert.deepEqual(timeline.view(), frozen);
  timeline.zoom(0.5, frozen.from + 30);
  assert.ok(Math.abs(timeline.still!.to - timeline.still!.from - 30) < 1e-9);
  timeline.goLive();
  assert.equal(timeline.view().to, timeline.edge());
});
