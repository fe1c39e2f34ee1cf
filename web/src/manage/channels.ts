// SPDX-License-Identifier: MIT
// The channels: state, rate, losses, restarts and why, worst first; and what can be done to them.
import { h, icon, keyed, setText } from "../dom";
import type { Channel } from "../live";
import { json, send } from "../rest";
import { byUrgency, count, health, losses, lossWords, rate } from "../words";
import { openDetails } from "./details";
import { type Fleetwide, openForm } from "./form";
import type { Manage, ManageOptions, Tab } from "./manage";

const COLUMNS: [string, string][] = [["Channel", ""], ["State", ""], ["Rate", "number"],
  ["Recorded", "number"], ["Lost", "number"], ["Restarts", "number"], ["", ""]];

export class ChannelsTab implements Tab {
  private rows = h("tbody");
  private note = h("p", { class: "empty" });
  private why = h("p", { class: "hint" });
  private register = h("button", { class: "button primary", type: "button",
    onclick: () => this.fleetwide && openForm(this.options, this.fleetwide, null) },
    icon("plus"), "Register a channel");
  readonly element = h("section", { "aria-label": "Channels" },
    h("div", { class: "tools" }, this.register, this.why),
    h("div", { class: "table-frame" }, h("table", { class: "table channels" },
      h("thead", {}, h("tr", {}, ...COLUMNS.map(([column, kind]) => h("th",
        { scope: "col", class: kind },
        column || h("span", { class: "visually-hidden" }, "Actions"))))),
      this.rows)),
    this.note);
  private fleetwide: Fleetwide | null = null;

  constructor(private options: ManageOptions, private manage: Manage) {}

  show(): void {
    this.update();
    void this.askWhether();
  }

  update(): void {
    const { fleet } = this.options;
    setText(this.note, fleet.known && fleet.channels.length === 0 ? "There are no channels." : "");
    keyed(this.rows, byUrgency(fleet.channels), (channel) => channel.name,
      (channel) => this.make(channel), (row, channel) => this.fill(row, channel));
    this.register.hidden = fleet.readOnly;
    this.register.disabled = !this.fleetwide?.writable;
  }

  /** Whether channels can be added here, and what a channel knows. */
  private async askWhether(): Promise<void> {
    try {
      this.fleetwide = await json<Fleetwide>("api/v1/configuration");
      setText(this.why, this.fleetwide.writable ? "" : this.fleetwide.reason ?? "");
    } catch (error) {
      this.fleetwide = null;
      setText(this.why, (error as Error).message);
    }
    this.update();
  }

  private make({ name }: Channel): HTMLTableRowElement {
    const action = (text: string, does: () => void, change = true) => h("button",
      { class: `button quiet ${change ? "change" : ""}`, type: "button", onclick: does,
        "aria-label": `${text}: ${name}` }, text);
    return h("tr", {},
      h("th", { scope: "row" }, h("button", { class: "link", type: "button",
        onclick: () => openDetails(this.options, this.manage, name) }, name)),
      h("td", { class: "state" }, h("span", { class: "dot", "aria-hidden": "true" }),
        h("span", { class: "word" }), h("span", { class: "reason" })),
      h("td", { class: "number rate", "data-label": "Rate" }),
      h("td", { class: "number recorded", "data-label": "Recorded" }),
      h("td", { class: "number lost", "data-label": "Lost" }),
      h("td", { class: "number restarts", "data-label": "Restarts" }),
      h("td", { class: "actions" },
        action("Signals", () => this.options.show(name), false),
        action("Files", () => this.manage.go("recordings", name), false),
        action("Restart", () => void this.restart(name)),
        action("Change", () => this.fleetwide && openForm(this.options, this.fleetwide, name)),
        action("Remove", () => void this.remove(name))));
  }

  private fill(row: HTMLElement, channel: Channel): void {
    const part = (name: string) => row.querySelector(`.${name}`)!;
    const { word, mood, reason } = health(channel), lost = losses(channel);
    part("dot").className = `dot ${mood}`;
    setText(part("word"), word);
    setText(part("reason"), reason);
    setText(part("rate"), `${rate(channel.rate)}/s`);
    setText(part("recorded"), channel.recording ? count(channel.datums_recorded) : "–");
    setText(part("lost"), lost.total > 0 ? lossWords(lost) : lost.unknown ? "0 ?" : "0");
    (part("lost") as HTMLElement).title = lost.parts.map((one) =>
      `${one.count === null ? "not counted here" : count(one.count)}: ${one.means}`).join("\n");
    part("lost").classList.toggle("bad", lost.total > 0);
    setText(part("restarts"), count(channel.restarts));
    for (const button of row.querySelectorAll<HTMLElement>(".change"))
      button.hidden = this.options.fleet.readOnly;
  }

  private async restart(name: string): Promise<void> {
    try {
      await send("POST", `api/v1/channels/${encodeURIComponent(name)}/restart`, {});
      this.options.notify(`${name} has another relay.`, "info");
    } catch (error) {
      this.options.notify(`${name} was not restarted: ${(error as Error).message}`, "bad");
    }
  }

  private async remove(name: string): Promise<void> {
    const path = `api/v1/channels/${encodeURIComponent(name)}`;
    try {
      const { etag, editable, reason } = await json<
        { etag: string; editable: boolean; reason: string | null }>(`${path}/configuration`);
      if (!editable) {
        this.options.notify(`${name} cannot be removed here: ${reason ?? ""}`, "bad");
        return;
      }
      if (!await this.options.confirmed(`Remove ${name}?`, "Its relay ends and it leaves the " +
          "configuration. What it has recorded stays.", "Remove")) return;
      await send("DELETE", path, undefined, { "If-Match": etag });
      this.options.notify(`${name} is removed. Its recordings stay.`, "info");
    } catch (error) {
      this.options.notify(`${name} was not removed: ${(error as Error).message}`, "bad");
    }
  }
}
