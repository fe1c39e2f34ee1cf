// SPDX-License-Identifier: MIT
// The channels: state, rate, losses, restarts and why, worst first.
import { h, icon, keyed, setText } from "../dom";
import type { Channel } from "../live";
import { send } from "../rest";
import { byUrgency, count, health, losses, lossWords, rate } from "../words";
import type { Manage, ManageOptions, Tab } from "./manage";

const COLUMNS = ["Channel", "State", "Rate", "Recorded", "Lost", "Restarts", ""];

export class ChannelsTab implements Tab {
  private rows = h("tbody");
  private note = h("p", { class: "empty" });
  readonly element = h("section", { "aria-label": "Channels" },
    h("div", { class: "table-frame" }, h("table", { class: "table channels" },
      h("thead", {}, h("tr", {}, ...COLUMNS.map((column) => h("th", { scope: "col" },
        column || h("span", { class: "visually-hidden" }, "Actions"))))),
      this.rows)),
    this.note);

  constructor(private options: ManageOptions, _manage: Manage) {}

  show(): void {
    this.update();
  }

  update(): void {
    const { fleet } = this.options;
    setText(this.note, fleet.known && fleet.channels.length === 0 ? "There are no channels." : "");
    keyed(this.rows, byUrgency(fleet.channels), (channel) => channel.name,
      (channel) => this.make(channel), (row, channel) => this.fill(row, channel));
  }

  private make(channel: Channel): HTMLTableRowElement {
    return h("tr", {},
      h("th", { scope: "row" }, channel.name),
      h("td", { class: "state" }, h("span", { class: "dot", "aria-hidden": "true" }),
        h("span", { class: "word" }), h("span", { class: "reason" })),
      h("td", { class: "number rate" }), h("td", { class: "number recorded" }),
      h("td", { class: "number lost" }), h("td", { class: "number restarts" }),
      h("td", { class: "actions" },
        h("button", { class: "button quiet", type: "button",
          onclick: () => this.options.show(channel.name) }, icon("chart"), "Signals"),
        h("button", { class: "button quiet", type: "button",
          onclick: () => void this.restart(channel.name) }, icon("again"), "Restart")));
  }

  private fill(row: HTMLElement, channel: Channel): void {
    const part = (name: string) => row.querySelector(`.${name}`)!;
    const { word, mood, reason } = health(channel), lost = losses(channel);
    part("dot").className = `dot ${mood}`;
    setText(part("word"), word);
    setText(part("reason"), reason);
    setText(part("rate"), `${rate(channel.rate)}/s`);
    setText(part("recorded"), channel.recording ? count(channel.datums_recorded) : "–");
    setText(part("lost"), lost.total > 0 ? lossWords(lost) : "0");
    part("lost").classList.toggle("bad", lost.total > 0);
    setText(part("restarts"), count(channel.restarts));
  }

  private async restart(name: string): Promise<void> {
    try {
      await send("POST", `api/v1/channels/${encodeURIComponent(name)}/restart`, {});
      this.options.notify(`${name} has another relay.`, "info");
    } catch (error) {
      this.options.notify(`${name}: ${(error as Error).message}`, "bad");
    }
  }
}
