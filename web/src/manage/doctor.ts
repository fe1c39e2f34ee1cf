// SPDX-License-Identifier: MIT
// What the doctor finds, worst first, each with its fix.
import { h, icon, setText } from "../dom";
import { json } from "../rest";
import type { Mood } from "../words";
import type { ManageOptions, Tab } from "./manage";

interface Finding {
  level: "ok" | "unknown" | "warning" | "problem";
  about: string;
  name: string | null;
  check: string;
  text: string;
  fix: string | null;
}

const LEVELS: Record<Finding["level"], { order: number; mood: Mood; word: string }> = {
  problem: { order: 0, mood: "bad", word: "Problem" },
  warning: { order: 1, mood: "warn", word: "Warning" },
  unknown: { order: 2, mood: "idle", word: "Unknown" },
  ok: { order: 3, mood: "ok", word: "Good" },
};

function levelOf(finding: Finding): (typeof LEVELS)["ok"] {
  return LEVELS[finding.level] ?? LEVELS.unknown;
}

function item(finding: Finding): HTMLElement {
  const { mood, word } = levelOf(finding);
  const about = [finding.name ?? finding.about, finding.check].filter((text) => text).join(" – ");
  return h("li", { class: `finding ${finding.level}` },
    h("span", { class: `dot ${mood}`, "aria-hidden": "true" }),
    h("span", { class: "visually-hidden" }, `${word}: `),
    h("div", {},
      h("p", { class: "what" }, h("strong", {}, about), " ", finding.text),
      finding.fix ? h("p", { class: "fix" }, finding.fix) : null));
}

export class DoctorTab implements Tab {
  private list = h("ul", { class: "findings" });
  private good = h("ul", { class: "findings" });
  private goodTitle = h("summary");
  private goodOnes = h("details", { class: "good" }, this.goodTitle, this.good);
  private note = h("p", { class: "hint", role: "status" });
  private again = h("button", { class: "button", type: "button", onclick: () => void this.ask() },
    icon("again"), "Look again");
  readonly element = h("section", { "aria-label": "Doctor" },
    h("div", { class: "tools" }, this.again, this.note), this.list, this.goodOnes);
  private asking = false;

  constructor(private options: ManageOptions) {}

  show(): void {
    if (this.list.childElementCount + this.good.childElementCount === 0) void this.ask();
  }

  update(): void {}

  private async ask(): Promise<void> {
    if (this.asking) return;
    this.asking = this.again.disabled = true;
    setText(this.note, "Looks at this host …");
    try {
      const { findings } = await json<{ findings: Finding[] }>("api/v1/doctor");
      const good = findings.filter((one) => one.level === "ok");
      const rest = findings.filter((one) => one.level !== "ok")
        .sort((a, b) => levelOf(a).order - levelOf(b).order);
      setText(this.note, `${findings.length} checks, ` +
        (rest.length === 0 ? "nothing to mend" : `${rest.length} to look at`));
      this.list.replaceChildren(...rest.map(item));
      this.good.replaceChildren(...good.map(item));
      this.list.hidden = rest.length === 0;
      this.goodOnes.hidden = good.length === 0;
      this.goodOnes.open = rest.length === 0;
      setText(this.goodTitle, `${good.length} that are good`);
    } catch (error) {
      setText(this.note, "");
      this.options.notify((error as Error).message, "bad");
    } finally {
      this.asking = this.again.disabled = false;
    }
  }
}
