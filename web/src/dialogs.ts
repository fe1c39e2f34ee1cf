// SPDX-License-Identifier: MIT
// Notices, questions, and the list of keys.
import { h, icon } from "./dom";

const NOTICE_MS = 8000;

export function dialogIsOpen(): boolean {
  return document.querySelector("dialog[open]") !== null;
}

/** Says something for some seconds, or until it is closed. */
export function notify(parent: HTMLElement, text: string, kind: "info" | "bad"): void {
  const notice = h("div", { class: `notice ${kind}` }, h("span", {}, text),
    h("button", { class: "button quiet square", type: "button", "aria-label": "Close",
      onclick: () => notice.remove() }, icon("close")));
  parent.append(notice);
  while (parent.children.length > 4) parent.firstElementChild?.remove();
  setTimeout(() => notice.remove(), kind === "bad" ? 2 * NOTICE_MS : NOTICE_MS);
}

let titles = 0;

/** A dialog with a title; it is gone when it is closed. */
export function openDialog(title: string, kind: string, ...content: Node[]): HTMLDialogElement {
  const id = `dialog-${++titles}`;
  const dialog = h("dialog", { class: `dialog ${kind}`, "aria-labelledby": id },
    h("div", { class: "dialog-head" }, h("h2", { id }, title),
      h("button", { class: "button quiet square", type: "button", "aria-label": "Close",
        onclick: () => dialog.close() }, icon("close"))),
    ...content);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Whether somebody says yes. */
export function confirmed(title: string, text: string, yes: string): Promise<boolean> {
  return new Promise((done) => {
    let answer = false;
    const sure = h("button", { class: "button danger", type: "button", onclick: () => {
      answer = true;
      dialog.close();
    } }, yes);
    const dialog = openDialog(title, "question", h("p", {}, text),
      h("div", { class: "buttons" },
        h("button", { class: "button", type: "button", onclick: () => dialog.close() }, "Cancel"),
        sure));
    dialog.addEventListener("close", () => done(answer));
    sure.focus();
  });
}

export function showKeys(keys: { keys: string; does: string }[]): void {
  openDialog("Keys", "keys", h("dl", { class: "keys" }, ...keys.flatMap((one) => [
    h("dt", {}, ...one.keys.split(" ").map((key) => h("kbd", {}, key))),
    h("dd", {}, one.does)])));
}
