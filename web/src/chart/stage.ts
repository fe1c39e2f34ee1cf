// SPDX-License-Identifier: MIT
// Pointer, wheel and keys in a chart: drag moves in time, with Shift (or while selecting) it
// selects; a mark that is caught moves; two fingers or the wheel zoom; on an axis of values the
// same are for that axis.

import type { Chart } from "./chart";
import { GUTTER } from "./axes";

interface Drag {
  kind: "pan" | "select" | "mark" | "axis";
  which: "a" | "b";
  key: string; // of an axis
  x: number;
  y: number;
  from: number;
  to: number;
  moved: boolean;
  distance: number; // of two fingers
}

export function bindStage(chart: Chart): void {
  const stage = chart.stage;
  const pointers = new Map<number, PointerEvent>();
  let drag: Drag | null = null;

  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !chart.axes) return;
    chart.host.used(chart);
    stage.focus({ preventScroll: true });
    pointers.set(event.pointerId, event);
    stage.setPointerCapture(event.pointerId);
    drag = beginDrag(chart, event);
    if (pointers.size === 2) drag.distance = distanceOf(pointers);
  });
  stage.addEventListener("pointermove", (event) => {
    if (pointers.has(event.pointerId)) pointers.set(event.pointerId, event);
    if (drag && pointers.size === 2) pinch(chart, drag, pointers);
    else if (drag) moveDrag(chart, drag, event);
    if (chart.axes && (event.pointerType === "mouse" || !drag))
      chart.host.pointer(chart, inPlot(chart, event) ? chart.momentAt(event.clientX) : null);
  });
  const end = (event: PointerEvent): void => {
    pointers.delete(event.pointerId);
    if (
      drag &&
      !drag.moved &&
      drag.kind !== "axis" &&
      event.type === "pointerup" &&
      inPlot(chart, event)
    ) {
      chart.host.pointer(chart, chart.momentAt(event.clientX));
      if (drag.kind === "select") chart.host.timeline.select(null);
    }
    stage.classList.remove("dragging");
    if (pointers.size === 0) drag = null;
  };
  stage.addEventListener("pointerup", end);
  stage.addEventListener("pointercancel", end);
  stage.addEventListener("pointerleave", (event) => {
    if (event.pointerType === "mouse" && !drag) chart.host.pointer(chart, null);
  });
  stage.addEventListener("wheel", (event) => wheel(chart, event), { passive: false });
  stage.addEventListener("dblclick", (event) => {
    const key = axisAt(chart, event);
    if (key !== null) chart.freeAxis(key);
  });
  stage.addEventListener("focus", () => chart.host.used(chart));
}

function inPlot(chart: Chart, event: MouseEvent): boolean {
  const box = chart.axes!.plot.over.getBoundingClientRect();
  return (
    event.clientX >= box.left &&
    event.clientX <= box.right &&
    event.clientY >= box.top - 24 &&
    event.clientY <= box.bottom + 30
  );
}

/** The axis of values that the pointer is on; null: on none. */
function axisAt(chart: Chart, event: MouseEvent): string | null {
  if (!chart.axes) return null;
  const box = chart.axes.plot.over.getBoundingClientRect();
  const left = Math.floor((box.left - event.clientX) / GUTTER);
  const right = Math.floor((event.clientX - box.right) / GUTTER);
  const place =
    event.clientX < box.left ? 2 * left : event.clientX > box.right ? 2 * right + 1 : -1;
  const axis = chart.axes.axes[place];
  return axis && !axis.symbols ? axis.key : null;
}

function beginDrag(chart: Chart, event: PointerEvent): Drag {
  const timeline = chart.host.timeline;
  const view = chart.span();
  const drag: Drag = {
    kind: "pan",
    which: "a",
    key: "",
    x: event.clientX,
    y: event.clientY,
    from: view.from,
    to: view.to,
    moved: false,
    distance: 0,
  };
  const key = axisAt(chart, event);
  if (key !== null) return { ...drag, kind: "axis", key };
  const at = chart.momentAt(event.clientX);
  const near = 6 * devicePixelRatio * chart.pixel;
  for (const which of ["a", "b"] as const) {
    const mark = timeline[which];
    if (mark !== null && Math.abs(mark - at) < near) return { ...drag, kind: "mark", which };
  }
  if (event.shiftKey || chart.host.selecting) return { ...drag, kind: "select", from: at };
  return drag;
}

function moveDrag(chart: Chart, drag: Drag, event: PointerEvent): void {
  const timeline = chart.host.timeline;
  if (!drag.moved && Math.hypot(event.clientX - drag.x, event.clientY - drag.y) < 4) return;
  drag.moved = true;
  chart.stage.classList.add("dragging");
  const seconds = (event.clientX - drag.x) * devicePixelRatio * chart.pixel;
  if (drag.kind === "axis") {
    chart.changeAxis(
      drag.key,
      1,
      0.5,
      (event.clientY - drag.y) / Math.max(1, chart.axes!.plot.over.clientHeight),
    );
    drag.y = event.clientY;
  } else if (drag.kind === "mark") timeline.mark(drag.which, chart.momentAt(event.clientX));
  else if (drag.kind === "select") {
    const at = chart.momentAt(event.clientX);
    timeline.select({ from: Math.min(drag.from, at), to: Math.max(drag.from, at) });
  } else {
    // From the live edge there is only the past.
    if (!timeline.still && seconds <= 0) return;
    const edge = timeline.edge() + 0.1 * (drag.to - drag.from);
    const to = Math.min(drag.to - seconds, Math.max(edge, drag.to));
    timeline.show({ from: to - (drag.to - drag.from), to }, "look");
  }
}

function distanceOf(pointers: Map<number, PointerEvent>): number {
  const [a, b] = [...pointers.values()];
  return Math.max(20, Math.abs(a!.clientX - b!.clientX));
}

function pinch(chart: Chart, drag: Drag, pointers: Map<number, PointerEvent>): void {
  const distance = distanceOf(pointers);
  if (drag.distance === 0) drag.distance = distance;
  const [a, b] = [...pointers.values()];
  chart.host.timeline.zoom(drag.distance / distance, chart.momentAt((a!.clientX + b!.clientX) / 2));
  drag.distance = distance;
  drag.moved = true;
  const view = chart.host.timeline.view();
  Object.assign(drag, { kind: "pan", x: a!.clientX, from: view.from, to: view.to });
}

function wheel(chart: Chart, event: WheelEvent): void {
  if (!chart.axes) return;
  const lines = event.deltaMode === 1 ? 30 : 1;
  const key = axisAt(chart, event);
  if (key !== null) {
    const box = chart.axes.plot.over.getBoundingClientRect();
    event.preventDefault();
    chart.changeAxis(
      key,
      Math.exp(event.deltaY * lines * 0.0015),
      (box.bottom - event.clientY) / box.height,
      0,
    );
    return;
  }
  if (!inPlot(chart, event)) return;
  event.preventDefault();
  const sideways = event.shiftKey ? event.deltaY : event.deltaX;
  if (Math.abs(sideways) > Math.abs(event.shiftKey ? event.deltaX : event.deltaY))
    chart.host.timeline.pan((sideways * lines) / 800);
  else
    chart.host.timeline.zoom(
      Math.exp(event.deltaY * lines * 0.0015),
      chart.momentAt(event.clientX),
    );
}
