// SPDX-License-Identifier: MIT
// The tree of channels and their fields. Only the rows in view are elements, so that thousands of
// fields stay quick; keyboard and roles as WAI-ARIA's tree has them (aria-activedescendant).
import { h, icon, setAttribute, setText } from "./dom";
import type { Signal } from "./chart/board";
import type { Fleet } from "./fleet";
import type { Channel, Live } from "./live";
import type { Field } from "./schema";
import { health, losses, lossWords, rate } from "./words";

export const SIGNAL_TYPE = "application/x-flotilla-signal";

const ITEMS_UNKNOWN = 8; // of an array that nothing has come of yet
const ITEMS_PROBED = 32; // and if there are so many, as many as may be looked at:
const ITEMS_MAX = 1000;
const LOOK_MS = 2500; // to see how many items an array has
const SPARE_ROWS = 6;

interface Row {
  key: string;
  level: number; // 1: a channel
  channel: string;
  of: Channel | null;
  field: Field | null;
  open: boolean | null; // null: nothing below it
  place: number; // among its siblings, from 1
  siblings: number;
  note: string; // instead of a name: why there is nothing
}

export interface TreeOptions {
  fleet: Fleet;
  live: Live;
  isShown(signal: Signal): boolean;
  toggle(signal: Signal, where: "last" | "new"): void;
}

export class Tree {
  readonly element: HTMLElement;
  private rowsElement = h("div", { class: "tree-rows", role: "presentation" });
  private list: HTMLElement;
  private search: HTMLInputElement;
  private told = h("p", { class: "tree-count", role: "status" });
  private rows: Row[] = [];
  private drawn = new Map<string, HTMLElement>();
  private opened = new Set<string>();
  private closed = new Set<string>(); // of what a search has opened
  private lengths = new Map<string, number>();
  private current = "";
  private words: string[] = [];
  private pending = 0;

  constructor(private options: TreeOptions) {
    this.search = h("input", {
      type: "search", id: "tree-search", placeholder: "Search signals", autocomplete: "off",
      spellcheck: "false", "aria-label": "Search channels and fields",
      "aria-controls": "tree", "aria-keyshortcuts": "/", oninput: () => this.look(),
      onkeydown: (event: KeyboardEvent) => this.searchKey(event),
    });
    this.list = h("div", {
      class: "tree", id: "tree", role: "tree", tabindex: 0, "aria-label": "Channels and fields",
      "aria-multiselectable": "true",
      onscroll: () => this.draw(), onkeydown: (event: KeyboardEvent) => this.key(event),
      onclick: (event: MouseEvent) => this.click(event),
      ondragstart: (event: DragEvent) => this.drag(event),
      onfocus: () => this.focus(),
    }, this.rowsElement);
    this.element = h("div", { class: "tree-panel" },
      h("div", { class: "search" }, icon("search"), this.search,
        h("kbd", { "aria-hidden": "true" }, "/")),
      this.told, this.list);
    new ResizeObserver(() => this.draw()).observe(this.list);
  }

  focusSearch(): void {
    this.search.focus();
    this.search.select();
  }

  /** Something of the fleet, its schemas or the charts has changed. */
  update(): void {
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = 0;
      this.build();
      this.draw();
    });
  }

  /** Opens a channel, so that what a new page shows is not only names. `atFirst`: only if nothing
   * has been opened yet. */
  open(channel: string, atFirst = false): void {
    if (atFirst && this.opened.size > 0) return;
    this.opened.add(channel);
    this.update();
  }

  // ---- rows ----

  private look(): void {
    this.words = this.search.value.toLowerCase().split(/\s+/).filter((word) => word);
    this.closed.clear();
    this.list.scrollTop = 0;
    this.update();
  }

  private matches(channel: string, field: Field): boolean {
    const text = `${channel} ${field.path} ${field.doc ?? ""} ${field.unit ?? ""}`.toLowerCase();
    return this.words.every((word) => text.includes(word));
  }

  /** The fields to show below one: all, or those that a search finds, with what leads to them. */
  private found(channel: string, fields: Field[], count: { fields: number }): Field[] {
    if (this.words.length === 0) return fields;
    return fields.filter((field) => {
      const below = this.found(channel, field.children, count);
      const self = this.matches(channel, field);
      if (self) count.fields++;
      return self || below.length > 0;
    });
  }

  private isOpen(key: string): boolean {
    return this.words.length > 0 ? !this.closed.has(key) : this.opened.has(key);
  }

  private build(): void {
    const { fleet } = this.options;
    const rows: Row[] = [];
    const count = { fields: 0 };
    const channels = fleet.channels.filter((channel) => {
      if (this.words.length === 0) return true;
      const known = fleet.schema(channel.name);
      return this.words.every((word) => channel.name.includes(word)) ||
        (known !== null && this.found(channel.name, known.fields, { fields: 0 }).length > 0);
    });
    channels.forEach((channel, index) => {
      const key = channel.name, open = this.isOpen(key);
      rows.push({
        key, level: 1, channel: key, of: channel, field: null, open,
        place: index + 1, siblings: channels.length, note: "",
      });
      if (!open) return;
      const known = fleet.schema(key);
      if (!known || known.error || known.fields.length === 0) {
        rows.push({
          key: `${key}\n`, level: 2, channel: key, of: null, field: null, open: null, place: 1,
          siblings: 1, note: !known ? "reading its schema …" : known.error || "no fields",
        });
        return;
      }
      // A channel that is found by its name shows all of its fields.
      const named = this.words.length > 0 && this.words.every((word) => key.includes(word));
      const shown = this.found(key, known.fields, count);
      this.addFields(rows, key, named && shown.length === 0 ? known.fields : shown, 2, count);
    });
    this.rows = rows;
    setText(this.told, this.words.length === 0 ? ""
      : rows.length === 0 ? "Nothing is called so."
        : `${count.fields} ${count.fields === 1 ? "field" : "fields"} found`);
  }

  private addFields(rows: Row[], channel: string, fields: Field[], level: number,
    count: { fields: number }): void {
    fields.forEach((field, index) => {
      const key = `${channel}\n${field.path}`;
      const below = field.children.length > 0 || field.item !== null;
      const open = below ? this.isOpen(key) && (field.item === null || this.opened.has(key)) : null;
      rows.push({
        key, level, channel, of: null, field, open, place: index + 1, siblings: fields.length,
        note: "",
      });
      if (!open) return;
      if (field.item) {
        const items = Array.from({ length: this.lengths.get(key) ?? ITEMS_UNKNOWN },
          (_, item) => field.item!(item));
        this.addFields(rows, channel, items, level + 1, count);
      } else {
        const shown = this.found(channel, field.children, { fields: 0 });
        this.addFields(rows, channel, shown.length > 0 ? shown : field.children, level + 1, count);
      }
    });
  }

  // ---- drawing ----

  private rowHeight(): number {
    return parseFloat(getComputedStyle(this.list).getPropertyValue("--row")) || 28;
  }

  private draw(): void {
    const height = this.rowHeight();
    this.rowsElement.style.height = `${this.rows.length * height}px`;
    const first = Math.max(0, Math.floor(this.list.scrollTop / height) - SPARE_ROWS);
    const last = Math.min(this.rows.length,
      Math.ceil((this.list.scrollTop + this.list.clientHeight) / height) + SPARE_ROWS);
    const wanted = new Set<string>();
    for (let index = first; index < last; index++) {
      const row = this.rows[index]!;
      wanted.add(row.key);
      let element = this.drawn.get(row.key);
      if (!element) {
        element = this.make(row);
        this.drawn.set(row.key, element);
        this.rowsElement.append(element);
      }
      element.style.transform = `translateY(${index * height}px)`;
      this.show(element, row);
    }
    for (const [key, element] of this.drawn)
      if (!wanted.has(key)) {
        element.remove();
        this.drawn.delete(key);
      }
    const element = this.drawn.get(this.current);
    setAttribute(this.list, "aria-activedescendant", element ? element.id : null);
  }

  private static ids = 0;

  private make(row: Row): HTMLElement {
    const element = h("div", {
      class: row.of ? "tree-row channel" : "tree-row", role: "treeitem",
      id: `tree-${++Tree.ids}`, "aria-level": row.level,
    },
      h("span", { class: "twist", "aria-hidden": "true" }, icon("chevron")),
      row.of && h("span", { class: "dot", "aria-hidden": "true" }),
      h("span", { class: "name" }),
      h("span", { class: "unit" }),
      h("span", { class: "doc" }),
      h("span", { class: "aside tabular" }), h("span", { class: "visually-hidden more" }),
      h("span", { class: "mark", "aria-hidden": "true" }, icon("plus"), icon("check")));
    element.dataset.key = row.key;
    element.style.setProperty("--level", String(row.level - 1));
    return element;
  }

  private show(element: HTMLElement, row: Row): void {
    const part = (name: string) => element.querySelector(`.${name}`)!;
    const { field } = row;
    setAttribute(element, "aria-posinset", String(row.place));
    setAttribute(element, "aria-setsize", String(row.siblings));
    setAttribute(element, "aria-expanded", row.open === null ? null : String(row.open));
    element.classList.toggle("current", row.key === this.current);
    element.classList.toggle("leaf", row.open === null);
    if (row.of) {
      const { word, mood, reason } = health(row.of), lost = losses(row.of);
      part("dot").className = `dot ${mood}`;
      setText(part("name"), row.channel);
      setText(part("doc"), mood === "bad" || mood === "warn" ? word : "");
      setText(part("aside"), lost.total > 0 ? lossWords(lost) : `${rate(row.of.rate)}/s`);
      part("aside").classList.toggle("lost", lost.total > 0);
      element.title = [word + (reason ? `: ${reason}` : ""), lossWords(lost)]
        .filter((text) => text).join("\n");
      setText(part("more"), mood === "bad" || mood === "warn" ? reason : word);
      return;
    }
    if (!field) {
      element.classList.add("note");
      setText(part("name"), row.note);
      return;
    }
    const signal = { channel: row.channel, field: field.path };
    const shown = field.charted && this.options.isShown(signal);
    setText(part("name"), field.name);
    setText(part("unit"), field.unit && field.unit !== "1" ? field.unit : "");
    setText(part("doc"), field.doc ?? "");
    setText(part("aside"), field.charted && !field.symbols ? "" : field.type);
    element.title = [field.path, field.type + (field.unit ? `, ${field.unit}` : ""),
      field.doc ?? "", field.symbols?.join(", ") ?? ""].filter((text) => text).join("\n");
    setAttribute(element, "draggable", field.charted ? "true" : null);
    setAttribute(element, "aria-checked", field.charted ? String(shown) : null);
    setText(part("more"), field.charted && !field.symbols ? field.type : "");
    element.classList.toggle("charted", field.charted);
    element.classList.toggle("shown", shown);
  }

  // ---- what people do ----

  private toggleOpen(row: Row, open = !row.open): void {
    if (row.open === null || row.open === open) return;
    const key = row.key;
    if (open) {
      this.opened.add(key);
      this.closed.delete(key);
      if (row.field?.item && !this.lengths.has(key)) this.findLength(key, row.channel, row.field);
    } else {
      this.opened.delete(key);
      this.closed.add(key);
    }
    this.build();
    this.draw();
  }

  /** Looks for a moment at how many items the array has. */
  private findLength(key: string, channel: string, field: Field, probe = ITEMS_PROBED): void {
    const leaf = (item: Field): string =>
      item.children[0] ? leaf(item.children[0]) : item.item ? leaf(item.item(0)) : item.path;
    const fields = Array.from({ length: probe }, (_, index) => leaf(field.item!(index)));
    const end = () => {
      clearTimeout(timer);
      look.close();
    };
    const look = this.options.live.subscribe(
      { channel, fields, binNs: 1000000000n, backNs: 0n, latest: true }, {
        onLatest: (_at, values) => {
          const there = fields.filter((path) => (values[path] ?? null) !== null);
          if (there.length === probe && probe < ITEMS_MAX) {
            end();
            this.findLength(key, channel, field, ITEMS_MAX);
          } else if (there.length > (this.lengths.get(key) ?? 0)) {
            this.lengths.set(key, there.length);
            this.update();
          }
        },
        onError: end,
        onEnded: end,
      });
    const timer = setTimeout(end, LOOK_MS);
  }

  private choose(row: Row, where: "last" | "new"): void {
    if (row.field?.charted)
      this.options.toggle({ channel: row.channel, field: row.field.path }, where);
    else this.toggleOpen(row);
  }

  private rowOf(event: Event): Row | null {
    const element = (event.target as Element).closest<HTMLElement>(".tree-row");
    return element ? this.rows.find((row) => row.key === element.dataset.key) ?? null : null;
  }

  private click(event: MouseEvent): void {
    const row = this.rowOf(event);
    if (!row) return;
    this.current = row.key;
    this.choose(row, event.shiftKey ? "new" : "last");
    this.draw();
  }

  private drag(event: DragEvent): void {
    const row = this.rowOf(event);
    if (!row?.field?.charted || !event.dataTransfer) return;
    const signals: Signal[] = [{ channel: row.channel, field: row.field.path }];
    event.dataTransfer.setData(SIGNAL_TYPE, JSON.stringify(signals));
    event.dataTransfer.setData("text/plain", `${row.channel} ${row.field.path}`);
    event.dataTransfer.effectAllowed = "copy";
  }

  private focus(): void {
    if (!this.rows.some((row) => row.key === this.current)) this.current = this.rows[0]?.key ?? "";
    this.draw();
  }

  private moveTo(index: number): void {
    const row = this.rows[Math.max(0, Math.min(index, this.rows.length - 1))];
    if (!row) return;
    this.current = row.key;
    const height = this.rowHeight(), top = this.rows.indexOf(row) * height;
    if (top < this.list.scrollTop) this.list.scrollTop = top;
    if (top + height > this.list.scrollTop + this.list.clientHeight)
      this.list.scrollTop = top + height - this.list.clientHeight;
    this.draw();
  }

  private searchKey(event: KeyboardEvent): void {
    if (event.key === "Escape" && this.search.value) {
      this.search.value = "";
      this.look();
    } else if (event.key === "ArrowDown" || event.key === "Enter") {
      this.build();
      const first = this.rows.findIndex((row) => row.field?.charted &&
        (this.words.length === 0 || this.matches(row.channel, row.field)));
      this.list.focus();
      this.moveTo(Math.max(first, 0));
    } else {
      return;
    }
    event.preventDefault();
  }

  private key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const at = this.rows.findIndex((row) => row.key === this.current);
    const row = this.rows[at];
    const page = Math.max(1, Math.floor(this.list.clientHeight / this.rowHeight()) - 1);
    switch (event.key) {
      case "ArrowDown": this.moveTo(at + 1); break;
      case "ArrowUp":
        if (at <= 0) this.search.focus();
        else this.moveTo(at - 1);
        break;
      case "PageDown": this.moveTo(at + page); break;
      case "PageUp": this.moveTo(at - page); break;
      case "Home": this.moveTo(0); break;
      case "End": this.moveTo(this.rows.length - 1); break;
      case "ArrowRight":
        if (row?.open === false) this.toggleOpen(row, true);
        else this.moveTo(at + 1);
        break;
      case "ArrowLeft":
        if (row?.open) {
          this.toggleOpen(row, false);
        } else if (row) {
          let parent = at;
          while (parent > 0 && this.rows[parent]!.level >= row.level) parent--;
          this.moveTo(parent);
        }
        break;
      case "Enter":
      case " ":
        if (row) this.choose(row, event.shiftKey ? "new" : "last");
        break;
      default: return;
    }
    event.preventDefault();
    event.stopPropagation();
  }
}
