// SPDX-License-Identifier: MIT
// The token: out of the address (#token=...), or asked for; kept for as long as the tab is open.
import { h } from "./dom";

const KEY = "flotilla.token";
let kept = "";
let asking: Promise<void> | null = null;

export function token(): string {
  return kept;
}

function keep(value: string): void {
  kept = value;
  try {
    sessionStorage.setItem(KEY, value);
  } catch {
    // A browser that keeps nothing: it is asked for again after a reload.
  }
}

/** Takes it out of the address, where it would be seen and passed on. */
export function takeToken(): void {
  try {
    kept = sessionStorage.getItem(KEY) ?? "";
  } catch {
    kept = "";
  }
  const view = location.hash.slice(1);
  const given = new URLSearchParams(view).get("token");
  if (given === null) return;
  keep(given.trim());
  const rest = view.split("&").filter((one) => !one.startsWith("token=")).join("&");
  history.replaceState(null, "", rest ? `#${rest}` : location.pathname + location.search);
}

/** Asks for one. `wrong`: the one that there was is not taken. */
export function askToken(wrong: boolean): Promise<void> {
  asking ??= new Promise((done) => {
    const input = h("input", {
      id: "token", type: "password", autocomplete: "off", spellcheck: "false", required: true,
    });
    const take = (event: Event) => {
      event.preventDefault();
      if (!input.value.trim()) return;
      keep(input.value.trim());
      dialog.close();
    };
    const dialog = h("dialog", { class: "dialog", "aria-labelledby": "token-title" },
      h("form", { onsubmit: take },
        h("h2", { id: "token-title" }, "Token"),
        h("p", {}, wrong ? "The token is not taken. " : "This gateway asks for a token. ",
          "It is what the file of ", h("code", {}, "gateway: token_file"), " holds; it is kept " +
          "until this tab is closed."),
        h("label", { for: "token" }, "Token"), input,
        h("div", { class: "buttons" },
          h("button", { class: "button primary", type: "submit" }, "Connect"))));
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    dialog.addEventListener("close", () => {
      dialog.remove();
      asking = null;
      done();
    });
    document.body.append(dialog);
    dialog.showModal();
  });
  return asking;
}
