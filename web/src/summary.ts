// SPDX-License-Identifier: MIT
// The fleet at a glance: how many are well, what comes in, what was lost, what is wrong in words.
import { h, keyed, setText } from "./dom";
import type { Fleet } from "./fleet";
import type { Channel, Live } from "./live";
import { byUrgency, count, health, losses, lossWords, rate } from "./words";

export class Summary {
  private figures = h("dl", { class: "figures" });
  private trouble = h("ul", { class: "trouble", "aria-label": "What is wrong" });
  private note = h("p", { class: "note" });
  readonly element = h("section", { class: "summary", "aria-label": "The fleet at a glance" },
    this.figures, this.note, this.trouble);

  constructor(private fleet: Fleet, private live: Live) {
    for (const [key, label] of [["channels", "channels"], ["rate", "datagrams/s"],
      ["lost", "lost"]])
      this.figures.append(h("div", { class: `figure ${key}` },
        h("dt", {}, label!), h("dd", { class: "tabular" }, "–")));
    this.update();
  }

  private set(key: string, text: string, mood = ""): void {
    const figure = this.figures.querySelector(`.${key}`)!;
    figure.className = `figure ${key} ${mood}`;
    setText(figure.querySelector("dd")!, text);
  }

  update(): void {
    const { channels, known, reason } = this.fleet;
    const moods = channels.map((channel) => health(channel).mood);
    const well = moods.filter((mood) => mood === "ok" || mood === "idle").length;
    const lost = channels.reduce((sum, channel) => sum + losses(channel).total, 0);
    const all = channels.reduce((sum, channel) =>
      sum + (typeof channel.rate === "number" ? channel.rate : 0), 0);
    this.set("channels", !known ? "–" : well === channels.length ? String(well)
      : `${well} of ${channels.length}`, well === channels.length ? "" : "bad");
    this.set("rate", known ? rate(all) : "–");
    this.set("lost", known ? count(lost) : "–", lost > 0 ? "bad" : "");
    setText(this.note, !known ? (this.live.status.state === "open" ? "" : "Connecting …")
      : reason ? `What stands here is not new: ${reason}.`
        : channels.length === 0 ? "The fleet has no channels yet: Manage registers one." : "");
    const wrong = byUrgency(channels).filter((channel) => {
      const { mood } = health(channel);
      return mood === "bad" || mood === "warn" || losses(channel).total > 0;
    });
    keyed(this.trouble, wrong, (channel) => channel.name, () => h("li", {},
      h("span", { class: "dot", "aria-hidden": "true" }), h("span", { class: "name" }),
      h("span", { class: "what" })), (item, channel) => this.show(item, channel));
  }

  private show(item: HTMLElement, channel: Channel): void {
    const { mood, word, reason } = health(channel), lost = losses(channel);
    item.querySelector(".dot")!.className = `dot ${mood}`;
    setText(item.querySelector(".name")!, channel.name);
    const state = mood === "bad" || mood === "warn" ? word + (reason ? `: ${reason}` : "") : "";
    setText(item.querySelector(".what")!,
      [state, lost.total > 0 ? lossWords(lost) : ""].filter((text) => text).join("; "));
  }
}
