// SPDX-License-Identifier: MIT
// Pins: spans that retention does not touch.
import { h, icon, pair, setText } from "../dom";
import { json, send } from "../rest";
import { count, bytes, duration, time } from "../words";
import type { ManageOptions, Tab } from "./manage";

interface Pin {
  channel: string;
  name: string;
  from: string;
  to: string;
}

interface Made {
  pins: { channel: string; files: number; bytes: number }[];
  failed: string[];
}

const COLUMNS: [string, string][] = [["Pin", ""], ["Channel", ""], ["From", ""], ["To", ""],
  ["Lasts", "number"], ["", ""]];

export class PinsTab implements Tab {
  private rows = h("tbody");
  private note = h("p", { class: "empty", role: "status" });
  private name = h("input", { id: "pin-name", autocomplete: "off", required: true, size: 16 });
  private from = h("input", { id: "pin-from", autocomplete: "off", value: "-10min", size: 22 });
  private to = h("input", { id: "pin-to", autocomplete: "off", placeholder: "now", size: 22 });
  private channel = h("select", { id: "pin-channel" });
  private form = h("form", { class: "tools", onsubmit: (event: Event) => {
    event.preventDefault();
    void this.pin();
  } },
    pair("pin-name", "Pin as", this.name), pair("pin-from", "from", this.from),
    pair("pin-to", "to", this.to), pair("pin-channel", "of", this.channel),
    h("button", { class: "button primary", type: "submit" }, icon("pin"), "Pin"));
  readonly element = h("section", { "aria-label": "Pins" }, this.form,
    h("p", { class: "hint" }, "What is pinned is kept, whatever the retention. Times as " +
      "2026-01-01T12:00:00Z or -10min."),
    h("div", { class: "table-frame" }, h("table", { class: "table pins" },
      h("thead", {}, h("tr", {}, ...COLUMNS.map(([column, kind]) => h("th",
        { scope: "col", class: kind },
        column || h("span", { class: "visually-hidden" }, "Actions"))))),
      this.rows)),
    this.note);

  constructor(private options: ManageOptions) {}

  show(): void {
    this.update();
    void this.load();
  }

  update(): void {
    const names = ["", ...this.options.fleet.channels.map((channel) => channel.name)];
    if (names.join() !== [...this.channel.options].map((option) => option.value).join())
      this.channel.replaceChildren(...names.map((name) =>
        h("option", { value: name }, name || "all channels")));
    this.form.hidden = this.options.fleet.readOnly;
  }

  private async load(): Promise<void> {
    try {
      const { pins } = await json<{ pins: Pin[] }>("api/v1/pins");
      setText(this.note, pins.length === 0 ? "Nothing is pinned." : "");
      this.rows.replaceChildren(...pins.map((pin) => this.row(pin)));
    } catch (error) {
      setText(this.note, (error as Error).message);
    }
  }

  private row(pin: Pin): HTMLElement {
    return h("tr", {},
      h("th", { scope: "row" }, pin.name),
      h("td", { "data-label": "Channel" }, pin.channel),
      h("td", { "data-label": "From" }, time(pin.from)),
      h("td", { "data-label": "To" }, time(pin.to)),
      h("td", { class: "number", "data-label": "Lasts" },
        duration((Date.parse(pin.to) - Date.parse(pin.from)) / 1000)),
      h("td", { class: "actions" },
        h("button", { class: "button quiet", type: "button", "aria-label": `Look at ${pin.name}`,
          onclick: () => this.options.showSpan(pin.channel, pin.from, pin.to) },
          icon("chart"), "Look"),
        !this.options.fleet.readOnly && h("button", { class: "button quiet", type: "button",
          "aria-label": `Unpin ${pin.name} of ${pin.channel}`,
          onclick: () => void this.unpin(pin) }, "Unpin")));
  }

  private async pin(): Promise<void> {
    try {
      const made = await send<Made>("POST", "api/v1/pins", {
        name: this.name.value.trim(), from: this.from.value.trim(),
        ...(this.to.value.trim() ? { to: this.to.value.trim() } : {}),
        ...(this.channel.value ? { channels: [this.channel.value] } : {}),
      });
      const files = made.pins.reduce((sum, pin) => sum + pin.files, 0);
      const size = made.pins.reduce((sum, pin) => sum + pin.bytes, 0);
      this.options.notify(`Pinned: ${count(files)} files, ${bytes(size)}.`, "info");
      for (const text of made.failed) this.options.notify(text, "bad");
      this.name.value = "";
    } catch (error) {
      this.options.notify((error as Error).message, "bad");
    }
    void this.load();
  }

  private async unpin(pin: Pin): Promise<void> {
    if (!await this.options.confirmed(`Unpin ${pin.name} of ${pin.channel}?`,
      "Retention may delete what it held.", "Unpin")) return;
    try {
      await send("DELETE", `api/v1/pins/${encodeURIComponent(pin.name)}?` +
        new URLSearchParams({ channel: pin.channel }).toString());
    } catch (error) {
      this.options.notify((error as Error).message, "bad");
    }
    void this.load();
  }
}
