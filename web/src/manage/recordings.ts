// SPDX-License-Identifier: MIT
// The recordings of a channel, newest first: span, size, what is missing; to save or look at.
import { h, icon, pair, setText } from "../dom";
import { download, json } from "../rest";
import { bytes, count, duration, time } from "../words";
import type { Manage, ManageOptions, Tab } from "./manage";

interface File {
  id: string;
  bytes: number;
  open: boolean;
  first: string | null;
  last: string | null;
  rows?: number | null;
  missing?: number | null;
  lost_before?: number;
}

interface Answer {
  files: File[];
  more: boolean;
}

const COLUMNS: [string, string][] = [["Recording", ""], ["From", ""], ["Lasts", "number"],
  ["Datums", "number"], ["Missing", "number"], ["Size", "number"], ["", ""]];

const TIMES = "2026-01-01T12:00:00Z, -10min, or seconds since 1970";

export class RecordingsTab implements Tab {
  private chosen = "";
  private files: File[] = [];
  private more = false;
  private asked = 0; // which answer counts
  private rows = h("tbody");
  private note = h("p", { class: "empty", role: "status" });
  private select = h("select", { id: "recordings-channel", onchange: () =>
    this.manage.go("recordings", this.select.value) });
  private from = h("input", { id: "recordings-from", autocomplete: "off", spellcheck: "false",
    placeholder: "the first", title: TIMES, size: 20, onchange: () => void this.load() });
  private to = h("input", { id: "recordings-to", autocomplete: "off", spellcheck: "false",
    placeholder: "now", title: TIMES, size: 20, onchange: () => void this.load() });
  private further = h("button", { class: "button", type: "button",
    onclick: () => void this.load(true) }, "More");
  readonly element = h("section", { "aria-label": "Recordings" },
    h("div", { class: "tools" },
      pair("recordings-channel", "Channel", this.select),
      pair("recordings-from", "From", this.from), pair("recordings-to", "to", this.to),
      h("button", { class: "button quiet", type: "button", onclick: () => void this.load() },
        icon("again"), "Again")),
    h("div", { class: "table-frame" }, h("table", { class: "table recordings" },
      h("thead", {}, h("tr", {}, ...COLUMNS.map(([column, kind]) => h("th",
        { scope: "col", class: kind },
        column || h("span", { class: "visually-hidden" }, "Actions"))))),
      this.rows)),
    this.note, this.further);

  constructor(private options: ManageOptions, private manage: Manage) {}

  show(channel: string): void {
    this.chosen = channel || this.chosen || this.options.fleet.channels[0]?.name || "";
    this.update();
    void this.load();
  }

  update(): void {
    const names = this.options.fleet.channels.map((channel) => channel.name);
    if (!this.chosen && names[0]) {
      this.chosen = names[0];
      void this.load();
    }
    // A channel that is gone still has its recordings.
    if (this.chosen && !names.includes(this.chosen)) names.unshift(this.chosen);
    if (names.join() !== [...this.select.options].map((option) => option.value).join())
      this.select.replaceChildren(...names.map((name) => h("option", { value: name }, name)));
    this.select.value = this.chosen;
  }

  private async load(further = false): Promise<void> {
    if (!this.chosen) return;
    const asked = ++this.asked;
    const query = new URLSearchParams({ limit: "1000" });
    if (this.from.value.trim()) query.set("from", this.from.value.trim());
    if (this.to.value.trim()) query.set("to", this.to.value.trim());
    const last = further ? this.files[this.files.length - 1] : undefined;
    if (last) query.set("after", last.id);
    try {
      const answer = await json<Answer>(
        `api/v1/channels/${encodeURIComponent(this.chosen)}/files?${query}`);
      if (asked !== this.asked) return;
      this.files = further ? [...this.files, ...answer.files] : answer.files;
      this.more = answer.more;
      setText(this.note, this.files.length === 0 ? "Nothing is recorded here." : "");
    } catch (error) {
      if (asked !== this.asked) return;
      this.files = [];
      this.more = false;
      setText(this.note, (error as Error).message);
    }
    this.draw();
  }

  private draw(): void {
    this.further.hidden = !this.more;
    this.rows.replaceChildren(...[...this.files].reverse().map((file) => this.row(file)));
  }

  private row(file: File): HTMLElement {
    const seconds = file.first && file.last
      ? (Date.parse(file.last) - Date.parse(file.first)) / 1000 : NaN;
    const missing = [
      file.missing === undefined || file.missing === null ? "–" : count(file.missing),
      file.lost_before ? `${count(file.lost_before)} files before it` : "",
    ].filter((text) => text).join(", ");
    const { first, last } = file;
    return h("tr", {},
      h("th", { scope: "row", class: "file" }, file.id,
        file.open && h("span", { class: "badge" }, "being written")),
      h("td", { "data-label": "From" }, first ? time(first) : "–"),
      h("td", { class: "number", "data-label": "Lasts" }, duration(seconds)),
      h("td", { class: "number", "data-label": "Datums" },
        typeof file.rows === "number" ? count(file.rows) : "–"),
      h("td", { class: `number ${missing !== "–" && missing !== "0" ? "bad" : ""}`,
        "data-label": "Missing" }, missing),
      h("td", { class: "number", "data-label": "Size" }, bytes(file.bytes)),
      h("td", { class: "actions" },
        first && last && h("button", { class: "button quiet", type: "button",
          "aria-label": `Look at ${file.id}`, onclick: () =>
            this.options.showSpan(this.chosen, first, last) }, icon("chart"), "Look"),
        h("button", { class: "button quiet", type: "button", "aria-label": `Save ${file.id}`,
          onclick: () => void this.save(file.id) }, icon("down"), "Save")));
  }

  private async save(id: string): Promise<void> {
    try {
      await download(`api/v1/files/${encodeURIComponent(id)}`);
    } catch (error) {
      this.options.notify(`${id}: ${(error as Error).message}`, "bad");
    }
  }
}
