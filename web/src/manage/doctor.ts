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

export class DoctorTab implements Tab {
  private list = h("ul", { class: "findings" });
  private note = h("p", { class: "hint", role: "status" });
  private again = h("button", { class: "button", type: "button", onclick: () => void this.ask() },
    icon("again"), "Look again");
  readonly element = h("section", { "aria-label": "Doctor" },
    h("div", { class: "tools" }, this.again, this.note), this.list);
  private asking = false;

  constructor(private options: ManageOptions) {}

  show(): void {
    if (this.list.childElementCount === 0) void this.ask();
  }

  update(): void {}

  private async ask(): Promise<void> {
    if (this.asking) return;
    this.asking = this.again.disabled = true;
    setText(this.note, "Looks at this host …");
    try {
      const { findings } = await json<{ findings: Finding[] }>("api/v1/doctor");
      const level = (finding: Finding) => LEVELS[finding.level] ?? LEVELS.unknown;
      const wrong = findings.filter((one) => one.level === "problem" || one.level === "warning");
      setText(this.note, `${findings.length} checks, ` +
        (wrong.length === 0 ? "nothing to mend" : `${wrong.length} to look at`));
      this.list.replaceChildren(...[...findings]
        .sort((a, b) => level(a).order - level(b).order)
        .map((finding) => h("li", { class: `finding ${finding.level}` },
          h("span", { class: `dot ${level(finding).mood}`, "aria-hidden": "true" }),
          h("span", { class: "visually-hidden" }, `${level(finding).word}: `),
          h("div", {},
            h("p", { class: "what" }, h("strong", {}, [finding.name ?? finding.about,
              finding.check].filter((text) => text).join(" – ")), " ", finding.text),
            finding.fix ? h("p", { class: "fix" }, finding.fix) : null))));
    } catch (error) {
      setText(this.note, "");
      this.options.notify((error as Error).message, "bad");
    } finally {
      this.asking = this.again.disabled = false;
    }
  }
}
