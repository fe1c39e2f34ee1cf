// SPDX-License-Identifier: MIT
// The keys of the charts.

import type { StripBoard } from "./board";

export const KEYS = [
  { keys: "Space", does: "pause, or back to live" },
  { keys: "L", does: "back to live" },
  { keys: "← →", does: "move the cursor by a pixel (Shift: ten)" },
  { keys: "Home End", does: "cursor to the first or last moment" },
  { keys: "Page Up, Page Down", does: "back and forward in time" },
  { keys: "+ −", does: "zoom around the cursor" },
  { keys: "A B", does: "set a mark at the cursor" },
  { keys: "S", does: "select by dragging; Shift and drag does it too" },
  { keys: "E", does: "save what is visible, or selected" },
  { keys: "I", does: "statistics of what is visible" },
  { keys: "Esc", does: "selection, marks and cursor away" },
];

export function boardKeys(board: StripBoard, event: KeyboardEvent): boolean {
  if (event.ctrlKey || event.altKey || event.metaKey || board.charts.length === 0) return false;
  const target = event.target as HTMLElement | null;
  const onButton = target?.closest("button, a, select, input, summary, dialog") != null;
  const timeline = board.timeline;
  switch (event.key) {
    case " ":
      if (onButton) return false;
      if (timeline.still) timeline.goLive();
      else timeline.pause();
      break;
    case "l":
    case "L":
      timeline.goLive();
      break;
    case "ArrowLeft":
    case "ArrowRight":
      if (target?.closest("select, input, [role=radio]")) return false;
      moveCursor(board, (event.key === "ArrowLeft" ? -1 : 1) * (event.shiftKey ? 10 : 1));
      break;
    case "Home":
    case "End": {
      const view = timeline.view();
      setCursor(board, event.key === "Home" ? view.from : view.to - pixelOf(board));
      break;
    }
    case "PageUp":
      timeline.pan(-0.8);
      break;
    case "PageDown":
      timeline.pan(0.8);
      break;
    case "+":
    case "=":
      timeline.zoom(0.5, timeline.cursor);
      break;
    case "-":
    case "_":
      timeline.zoom(2, timeline.cursor);
      break;
    case "a":
    case "A":
      timeline.mark("a", timeline.cursor ?? middle(board));
      break;
    case "b":
    case "B":
      timeline.mark("b", timeline.cursor ?? middle(board));
      break;
    case "s":
    case "S":
      board.toggle("selecting");
      break;
    case "i":
    case "I":
      board.toggle("stats");
      break;
    case "e":
    case "E":
      board.openSave(board.element.querySelector(".board-save")!);
      break;
    case "Escape":
      clear(board);
      break;
    default:
      return false;
  }
  event.preventDefault();
  return true;
}

function clear(board: StripBoard): void {
  const timeline = board.timeline;
  board.selecting = false;
  timeline.a = timeline.b = null;
  timeline.setCursor(null);
  timeline.select(null);
}

function middle(board: StripBoard): number {
  const { from, to } = board.timeline.view();
  return (from + to) / 2;
}

function pixelOf(board: StripBoard): number {
  const chart = board.lastUsed ?? board.charts[0]!;
  return chart.pixel * devicePixelRatio;
}

function moveCursor(board: StripBoard, pixels: number): void {
  const view = board.timeline.view();
  const at = board.timeline.cursor ?? view.to - pixelOf(board);
  setCursor(board, Math.min(view.to, Math.max(view.from, at + pixels * pixelOf(board))));
}

function setCursor(board: StripBoard, at: number): void {
  board.unfollow();
  board.timeline.setCursor(at);
  board.announce((board.lastUsed ?? board.charts[0]!).spoken(at));
}
