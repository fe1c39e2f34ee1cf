// SPDX-License-Identifier: MIT
// The shell: top bar, pages, theme, keys, and the view in the address. Charts are board.ts's.
import "./styles.css";
import { type Board, type Signal, createBoard } from "./chart/board";
import { confirmed, dialogIsOpen, notify, showKeys } from "./dialogs";
import { h, icon, setAttribute, setText } from "./dom";
import { Fleet } from "./fleet";
import { type FieldInfo, Live } from "./live";
import { Manage } from "./manage/manage";
import { address, download, rest, why } from "./rest";
import { Summary } from "./summary";
import { askToken, takeToken, token } from "./token";
import { Tree } from "./tree";

type Page = "live" | "manage";
type Theme = "light" | "dark";

const URL_MS = 250;
const FIRST_CHARTS = 4; // of a page that was opened without a view
const FIRST_SIGNALS = 2; // of each
const THEME_KEY = "flotilla.theme";

takeToken();

const announcer = h("div", { class: "visually-hidden", "aria-live": "polite" });
const notices = h("div", { class: "notices", role: "status" });

function announce(text: string): void {
  announcer.textContent = "";
  setTimeout(() => announcer.textContent = text, 50);
}

// ---- theme ----

const darkSystem = matchMedia("(prefers-color-scheme: dark)");

function chosenTheme(): Theme | null {
  try {
    const kept = localStorage.getItem(THEME_KEY);
    return kept === "light" || kept === "dark" ? kept : null;
  } catch {
    return null;
  }
}

function theme(): Theme {
  return document.documentElement.dataset.theme === "dark" ? "dark" : "light";
}

function useTheme(wanted: Theme): void {
  document.documentElement.dataset.theme = wanted;
  themeButton.replaceChildren(icon(wanted === "dark" ? "sun" : "moon"));
  setAttribute(themeButton, "aria-label", wanted === "dark" ? "Light theme" : "Dark theme");
  themeButton.title = `${wanted === "dark" ? "Light" : "Dark"} theme (t)`;
  board?.setTheme(wanted);
}

function switchTheme(): void {
  const wanted = theme() === "dark" ? "light" : "dark";
  try {
    // What the system has needs no keeping: it follows it again.
    if (wanted === (darkSystem.matches ? "dark" : "light")) localStorage.removeItem(THEME_KEY);
    else localStorage.setItem(THEME_KEY, wanted);
  } catch {
    // It is not kept.
  }
  useTheme(wanted);
}

// ---- what stands on the page ----

let board: Board | null = null;
let page: Page = "live";
let writing = 0; // timer
let written = ""; // the address as it was read or written last
const themeButton = h("button", { class: "button quiet square", type: "button",
  onclick: switchTheme });
useTheme(chosenTheme() ?? (darkSystem.matches ? "dark" : "light"));
darkSystem.addEventListener("change", () =>
  chosenTheme() || useTheme(darkSystem.matches ? "dark" : "light"));

const socketUrl = address("api/v1/live");
socketUrl.protocol = socketUrl.protocol === "https:" ? "wss:" : "ws:";
const live = new Live({ url: socketUrl.href, token, why });
const fleet = new Fleet(live);

const boardElement = h("main", { class: "board", id: "board", tabindex: -1,
  "aria-label": "Charts" });
const same = (a: Signal, b: Signal) => a.channel === b.channel && a.field === b.field;
let shown = new Set<string>();
const signalKey = (signal: Signal) => `${signal.channel}\n${signal.field}`;

function toggle(signal: Signal, where: "last" | "new"): void {
  if (!board) return;
  if (board.shown().some((one) => same(one, signal))) {
    board.remove(signal);
    announce(`${signal.field} is not charted any more`);
  } else {
    board.add(signal, where);
    announce(`${signal.field} of ${signal.channel} is charted`);
  }
}

const tree = new Tree({ fleet, live, toggle, isShown: (signal) => shown.has(signalKey(signal)) });
const summary = new Summary(fleet, live);
const sidebar = h("aside", { class: "sidebar", id: "sidebar", "aria-label": "Fleet and signals" },
  h("h2", { class: "visually-hidden" }, "Fleet"), summary.element, tree.element);
const livePage = h("div", { class: "page live" }, sidebar, boardElement);
const manage = new Manage({
  fleet,
  notify: (text, kind) => notify(notices, text, kind),
  show: (channel) => go("live", () => tree.open(channel)),
  showSpan: (channel, from, to) => showSpan(channel, from, to),
  changed: () => writeAddress(true),
  confirmed,
});

const links: Record<Page, HTMLAnchorElement> = {
  live: h("a", { href: "#page=live" }, "Live"),
  manage: h("a", { href: "#page=manage" }, "Manage"),
};
const status = h("div", { class: "connection" });
const signalsButton = h("button", {
  class: "button quiet signals", type: "button", "aria-controls": "sidebar",
  "aria-expanded": "false", onclick: () => openSidebar(!sidebar.classList.contains("open")),
}, icon("panel"), "Signals");
const header = h("header", { class: "bar" },
  h("button", { class: "skip", type: "button", onclick: () =>
    (page === "live" ? boardElement : manage.element).focus() }, "Skip to the content"),
  h("h1", { class: "brand" }, icon("logo"), h("span", {}, "Flotilla")),
  h("nav", { "aria-label": "Pages" }, links.live, links.manage),
  signalsButton,
  h("span", { class: "spring" }),
  status, themeButton,
  h("button", { class: "button quiet square keys-button", type: "button", "aria-label": "Keys",
    title: "Keys (?)", onclick: () => showKeys(keys()) }, icon("keys")));

document.body.append(header, livePage, manage.element, notices, announcer);

function openSidebar(open: boolean): void {
  sidebar.classList.toggle("open", open);
  setAttribute(signalsButton, "aria-expanded", String(open));
  if (open) tree.update();
}
boardElement.addEventListener("pointerdown", () => openSidebar(false));

function fieldInfo(signal: Signal): FieldInfo | null {
  fleet.schema(signal.channel);
  const field = fleet.field(signal.channel, signal.field);
  return field && {
    name: signal.field, type: field.type, unit: field.unit, doc: field.doc, symbols: field.symbols,
  };
}

board = createBoard(boardElement, {
  client: live, rest, fieldInfo, announce, download,
  notify: (text, kind) => notify(notices, text, kind),
  onChange: () => {
    const signals = board?.shown() ?? [];
    shown = new Set(signals.map(signalKey));
    if (signals[0]) tree.open(signals[0].channel, true);
    tree.update();
    writeAddress(false);
  },
});
board.setTheme(theme());

// ---- the address ----

function view(): URLSearchParams {
  const params = new URLSearchParams();
  if (page !== "live") params.set("page", page);
  for (const [key, value] of manage.save()) if (page === "manage") params.append(key, value);
  for (const [key, value] of board?.save() ?? []) params.append(key, value);
  return params;
}

/** Commas, colons and brackets need no percent in a fragment, and are read more easily without. */
function readable(params: URLSearchParams): string {
  return params.toString().replace(/%3A/g, ":").replace(/%2C/g, ",").replace(/%5B/g, "[")
    .replace(/%5D/g, "]");
}

function writeNow(push: boolean): void {
  clearTimeout(writing);
  writing = 0;
  const hash = `#${readable(view())}`;
  if (hash === (location.hash || "#")) return;
  written = hash;
  history[push ? "pushState" : "replaceState"](null, "", hash);
}

function writeAddress(push: boolean): void {
  if (push) writeNow(true);
  else if (!writing) writing = window.setTimeout(() => writeNow(false), URL_MS);
}

function readAddress(): void {
  const before = token();
  takeToken();
  if (token() !== before) live.retry();
  if (location.hash === written) return;
  written = location.hash;
  const params = new URLSearchParams(location.hash.slice(1));
  const wanted = params.get("page") === "manage" ? "manage" : "live";
  manage.restore(params);
  // A link to a page alone leaves the charts as they are.
  for (const key of ["page", "tab", "channel", "token"]) params.delete(key);
  if (params.size > 0) board?.restore(params);
  showPage(wanted);
  writeAddress(false);
}

function showPage(wanted: Page): void {
  page = wanted;
  livePage.hidden = wanted !== "live";
  signalsButton.hidden = wanted !== "live";
  manage.setVisible(wanted === "manage");
  board?.setVisible(wanted === "live" && !document.hidden);
  for (const [name, link] of Object.entries(links))
    setAttribute(link, "aria-current", name === wanted ? "page" : null);
  document.title = wanted === "live" ? "Flotilla" : "Manage – Flotilla";
}

function go(wanted: Page, then?: () => void): void {
  showPage(wanted);
  then?.();
  writeAddress(true);
}

function showSpan(channel: string, from: string, to: string): void {
  const params = board?.save() ?? new URLSearchParams();
  params.delete("window");
  params.set("from", from);
  params.set("to", to);
  if (!params.get("c")) {
    const first = firstSignals(channel);
    if (first.length > 0) params.set("c", first.map((field) => `${channel}:${field}`).join(","));
  }
  go("live", () => board?.restore(params));
}

addEventListener("hashchange", readAddress);
addEventListener("popstate", readAddress);
document.addEventListener("visibilitychange", () =>
  board?.setVisible(page === "live" && !document.hidden));
for (const [name, link] of Object.entries(links))
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go(name as Page);
  });

// ---- the first view ----

/** What tells most of a channel at first sight: numbers that are no times and do not count. */
function firstSignals(channel: string): string[] {
  const known = fleet.schema(channel);
  const plain = (path: string) => {
    const field = fleet.field(channel, path);
    return field !== null && field.charted && !/^(time|date)/.test(field.type) &&
      !/^(time|timestamp|counter|sequence|seq|count)$/i.test(field.name);
  };
  const paths = known?.fields.flatMap((field) =>
    field.children.length > 0 ? field.children.map((child) => child.path) : [field.path]) ?? [];
  return paths.filter(plain).slice(0, FIRST_SIGNALS);
}

let firstView = location.hash.replace(/^#/, "") === "";

/** A page that is opened without a view shows something at once: a chart a channel. */
function offerFirstView(): void {
  if (!firstView || !fleet.known || fleet.channels.length === 0 || !board) return;
  const channels = fleet.channels.slice(0, FIRST_CHARTS);
  if (channels.some((channel) => fleet.schema(channel.name) === null)) return;
  firstView = false;
  if (board.shown().length > 0) return;
  for (const channel of channels)
    firstSignals(channel.name).forEach((field, index) =>
      board?.add({ channel: channel.name, field }, index === 0 ? "new" : "last"));
  const first = channels[0];
  if (first) tree.open(first.name);
}

// ---- the connection ----

let lastState = "";

function showStatus(): void {
  const { state, reason, retryAt } = live.status;
  const seconds = Math.max(0, Math.ceil((retryAt - performance.now()) / 1000));
  const trouble = state === "open" && fleet.reason !== "";
  const word = trouble ? "no manager" : state === "open" ? "connected"
    : state === "waiting" ? `again in ${seconds} s` : state === "refused" ? "token" : "connecting";
  setAttribute(status, "data-state", trouble ? "trouble" : state);
  status.title = trouble ? fleet.reason : reason;
  if (status.childElementCount === 0)
    status.append(h("span", { class: "dot", "aria-hidden": "true" }), h("span", { class: "word" }),
      h("button", { class: "button quiet", type: "button", onclick: () => live.retry() },
        "Now"));
  setText(status.querySelector(".word")!, word);
  (status.querySelector("button") as HTMLButtonElement).hidden = state !== "waiting";
  const told = trouble ? `connected, but ${fleet.reason}`
    : state === "open" ? "connected" : reason || "connecting";
  if (state !== "connecting" && told !== lastState) {
    if (lastState) announce(told);
    lastState = told;
  }
  document.body.classList.toggle("away", state !== "open");
}

live.onStatus(async (now) => {
  showStatus();
  if (now.state === "refused") {
    await askToken(token() !== "");
    live.retry();
  }
});
setInterval(showStatus, 1000);
fleet.onChange(() => {
  tree.update();
  summary.update();
  manage.update();
  showStatus();
  offerFirstView();
});

// ---- keys ----

function keys(): { keys: string; does: string }[] {
  return [
    { keys: "/", does: "search signals" },
    { keys: "g l", does: "live charts" },
    { keys: "g m", does: "manage" },
    { keys: "t", does: "light or dark" },
    { keys: "?", does: "these keys" },
    { keys: "Enter", does: "in the tree: chart a field, or not; Shift: in a new chart" },
    ...(board?.keys() ?? []),
  ];
}

let gone = 0; // when "g" was typed

document.addEventListener("keydown", (event) => {
  const target = event.target as HTMLElement;
  if (event.defaultPrevented || dialogIsOpen() || target.isContentEditable ||
      /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)) return;
  const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
  const after = event.timeStamp - gone < 1500;
  gone = 0;
  if (plain && after && (event.key === "l" || event.key === "m"))
    go(event.key === "l" ? "live" : "manage");
  else if (plain && event.key === "g") gone = event.timeStamp;
  else if (plain && event.key === "t") switchTheme();
  else if (plain && event.key === "?") showKeys(keys());
  else if (plain && event.key === "/") go("live", () => {
    openSidebar(true);
    tree.focusSearch();
  });
  else if (plain && event.key === "Escape" && sidebar.classList.contains("open"))
    openSidebar(false);
  else if (page !== "live" || !board?.key(event)) return;
  event.preventDefault();
});

written = "none"; // whatever there is, is read
readAddress();
if (page === "live") showPage("live");
showStatus();
