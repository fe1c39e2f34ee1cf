// SPDX-License-Identifier: MIT
// Registers a channel or changes one. The fields are those that the gateway lists; what the manager
// finds wrong stands at the field that it is about.
import { openDialog } from "../dialogs";
import { h, setText } from "../dom";
import { Problem, json, send } from "../rest";
import type { ManageOptions } from "./manage";

export interface Key {
  key: string; // "decimated.factor"
  takes: string;
  default: string | null;
  required: boolean;
  help: string;
}

export interface Fleetwide {
  file: string;
  include: string | null;
  writable: boolean;
  reason: string | null;
  keys: Key[];
}

interface Written {
  etag: string;
  file: string;
  line: number;
  editable: boolean;
  reason: string | null;
  configuration: Record<string, unknown>;
}

interface Answer {
  warnings?: string[];
  failed?: { channel: string; reason: string }[];
}

/** What most channels say; all else is behind "More". */
const FIRST = ["listen", "interface", "time", "sequence", "full", "decimated.to",
  "decimated.factor", "decimated.algorithm", "record"];
const LISTS = new Set(["sources", "decimated.keep"]);
const SCHEMA_BYTES_MAX = 1 << 20;

function valueAt(configuration: Record<string, unknown>, path: string): unknown {
  return path.split(".").reduce<unknown>((value, key) =>
    value !== null && typeof value === "object" ? (value as Record<string, unknown>)[key]
      : undefined, configuration);
}

function shownText(value: unknown): string {
  if (value === undefined || value === null) return "";
  return Array.isArray(value) ? value.map(String).join(", ") : String(value);
}

/** What was typed, as YAML would have it. */
function typed(key: string, text: string, was: unknown): unknown {
  if (LISTS.has(key) || Array.isArray(was))
    return text.split(",").map((one) => one.trim()).filter((one) => one);
  if (/^(true|false)$/.test(text)) return text === "true";
  return /^-?\d{1,15}$/.test(text) ? Number(text) : text;
}

function put(configuration: Record<string, unknown>, path: string, value: unknown): void {
  const keys = path.split("."), last = keys.pop()!;
  let at = configuration;
  for (const key of keys) at = (at[key] ??= {}) as Record<string, unknown>;
  at[last] = value;
}

/** One of some words, or none: then it is the default. */
function choose(words: string[], now: string, usual: string): HTMLSelectElement {
  const select = h("select", {}, h("option", { value: "" }, usual ? `(${usual})` : ""),
    ...[...new Set([...words, ...(now ? [now] : [])])].map((word) =>
      h("option", { value: word }, word)));
  select.value = now;
  return select;
}

/** A label, its input, what it takes, and room for what is wrong with it. */
class Entry {
  private static ids = 0;
  readonly id = `entry-${++Entry.ids}`;
  private wrong = h("p", { class: "wrong", id: `${this.id}-wrong` });
  readonly element: HTMLElement;

  constructor(label: string, readonly input: HTMLElement, hint: string, required = false) {
    input.id = this.id;
    const described = [`${this.id}-wrong`];
    if (hint) described.push(`${this.id}-hint`);
    input.setAttribute("aria-describedby", described.join(" "));
    if (required) input.setAttribute("aria-required", "true");
    this.element = h("div", { class: "entry" },
      h("label", { for: this.id }, label, required && h("span", { class: "needed" }, " needed")),
      input, hint && h("p", { class: "hint", id: `${this.id}-hint` }, hint), this.wrong);
  }

  say(text: string): void {
    setText(this.wrong, text);
    if (text) this.input.setAttribute("aria-invalid", "true");
    else this.input.removeAttribute("aria-invalid");
  }
}

class Form {
  private entries = new Map<string, Entry>(); // by pointer
  private inputs = new Map<string, HTMLInputElement | HTMLSelectElement>(); // by key
  private whole = h("div", { class: "problem", role: "alert" });
  private schemaText = h("textarea", { rows: 7, spellcheck: "false", autocomplete: "off" });
  private dialog!: HTMLDialogElement;
  private name: HTMLInputElement | null = null;
  private busy = false;

  constructor(private options: ManageOptions, private fleetwide: Fleetwide,
    private channel: string | null, private written: Written | null) {}

  open(): void {
    const { keys } = this.fleetwide, first: Node[] = [], more: Node[] = [];
    if (!this.channel) {
      this.name = h("input", { autocomplete: "off", spellcheck: "false" });
      const entry = new Entry("Name", this.name, "small letters, digits, _ . -", true);
      this.entries.set("/name", entry);
      first.push(entry.element);
    }
    const order = (key: Key) => FIRST.indexOf(key.key);
    for (const key of [...keys].sort((a, b) => order(a) - order(b))) {
      if (key.key === "schema" || key.takes === "") continue;
      (order(key) >= 0 || key.required ? first : more).push(this.entry(key));
    }
    first.splice(this.channel ? 2 : 3, 0, ...this.schemaEntries());
    const save = h("button", { class: "button primary", type: "submit" },
      this.channel ? "Change" : "Register");
    const form = h("form", { novalidate: true, class: "form", onsubmit: (event: Event) => {
      event.preventDefault();
      void this.send(save);
    } },
      h("div", { class: "grid" }, ...first),
      h("details", {}, h("summary", {}, "More"), h("div", { class: "grid" }, ...more)),
      this.whole,
      h("div", { class: "buttons" },
        h("button", { class: "button", type: "button", onclick: () => this.dialog.close() },
          "Cancel"), save));
    const told = this.written
      ? ["It is written to ", h("code", {}, `${this.written.file}, line ${this.written.line}`), "."]
      : ["It gets a file of its own among ", h("code", {}, this.fleetwide.include ?? ""), "."];
    this.dialog = openDialog(this.channel ? `Change ${this.channel}` : "Register a channel", "wide",
      h("p", {}, ...told), form);
    (this.name ?? form.querySelector("input"))?.focus();
  }

  private entry(key: Key): Node {
    const value = this.written ? valueAt(this.written.configuration, key.key) : undefined;
    const text = shownText(value), choices = key.takes.split("|");
    const input = choices.length > 1 && choices.every((one) => /^[a-z0-9_-]+$/.test(one))
      ? choose(choices, text, key.default ?? "")
      : h("input", {
        autocomplete: "off", spellcheck: "false", value: text, placeholder: key.default ?? "",
      });
    const hint = input instanceof HTMLSelectElement ? key.help
      : [key.help, key.takes].filter((one) => one).join(": ");
    const entry = new Entry(key.key, input, hint, key.required);
    this.inputs.set(key.key, input);
    this.entries.set(`/configuration/${key.key.replace(/\./g, "/")}`, entry);
    return entry.element;
  }

  private schemaEntries(): Node[] {
    const path = h("input", { autocomplete: "off", spellcheck: "false",
      value: shownText(this.written?.configuration.schema), placeholder: "schemas/engine.avsc" });
    this.inputs.set("schema", path);
    const pathEntry = new Entry("schema", path,
      "path of an Avro schema, from the folder of the configuration; or else, below:");
    this.entries.set("/configuration/schema", pathEntry);
    const file = h("input", { type: "file", accept: ".avsc,.json,application/json",
      onchange: () => void this.read(file) });
    const fileEntry = new Entry("Schema, uploaded", file, "an .avsc file; its text can be edited");
    const textEntry = new Entry("Schema, as text", this.schemaText, "");
    this.entries.set("/schema", textEntry);
    return [pathEntry.element, fileEntry.element,
      h("div", { class: "whole" }, textEntry.element)];
  }

  private async read(input: HTMLInputElement): Promise<void> {
    const file = input.files?.[0];
    const entry = this.entries.get("/schema")!;
    if (!file) return;
    if (file.size > SCHEMA_BYTES_MAX) {
      entry.say("a schema has at most 1 MiB");
      return;
    }
    this.schemaText.value = await file.text();
    if (!this.channel) this.inputs.get("schema")!.value = "";
    entry.say("");
  }

  private body(): Record<string, unknown> {
    const configuration: Record<string, unknown> = {};
    for (const [key, input] of this.inputs) {
      const text = input.value.trim();
      const was = this.written ? valueAt(this.written.configuration, key) : undefined;
      if (text === shownText(was) && was !== undefined) put(configuration, key, was);
      else if (text) put(configuration, key, typed(key, text, was));
    }
    const schema = this.schemaText.value.trim() ? this.schemaText.value : undefined;
    if (schema !== undefined) delete configuration.schema;
    return {
      ...(this.channel ? {} : { name: this.name!.value.trim() }), configuration,
      ...(schema === undefined ? {} : { schema }),
    };
  }

  private async send(button: HTMLButtonElement): Promise<void> {
    if (this.busy) return;
    this.busy = button.disabled = true;
    for (const entry of this.entries.values()) entry.say("");
    setText(this.whole, "");
    try {
      const body = this.body();
      const answer = this.channel
        ? await send<Answer>("PUT", `api/v1/channels/${encodeURIComponent(this.channel)}`, body,
          { "If-Match": this.written!.etag })
        : await send<Answer>("POST", "api/v1/channels", body);
      this.done(answer, this.channel ?? String(body.name));
    } catch (error) {
      this.show(error as Error);
    } finally {
      this.busy = button.disabled = false;
    }
  }

  private done(answer: Answer, name: string): void {
    this.dialog.close();
    this.options.fleet.forget(name);
    this.options.notify(`${name} is ${this.channel ? "changed" : "registered"}.`, "info");
    for (const { channel, reason } of answer.failed ?? [])
      this.options.notify(`${channel} does not come up yet: ${reason}`, "bad");
    for (const warning of answer.warnings ?? []) this.options.notify(warning, "info");
  }

  private show(error: Error): void {
    const errors = error instanceof Problem ? error.errors : [];
    const left: string[] = [];
    let first: Entry | null = null;
    for (const { pointer, detail } of errors) {
      let at = pointer;
      while (at && !this.entries.has(at)) at = at.slice(0, at.lastIndexOf("/"));
      const entry = this.entries.get(at);
      if (!entry) {
        left.push(detail);
        continue;
      }
      entry.say(detail);
      entry.element.closest("details")?.setAttribute("open", "");
      first ??= entry;
    }
    setText(this.whole, [error.message, ...left].filter((text, index, all) =>
      all.indexOf(text) === index).join("\n"));
    if (first) first.input.focus();
    else this.whole.scrollIntoView({ block: "nearest" });
  }
}

/** Opens the form; `channel` null: for a new one. */
export async function openForm(options: ManageOptions, fleetwide: Fleetwide,
  channel: string | null): Promise<void> {
  let written: Written | null = null;
  if (channel) {
    try {
      written = await json<Written>(
        `api/v1/channels/${encodeURIComponent(channel)}/configuration`);
    } catch (error) {
      options.notify(`${channel}: ${(error as Error).message}`, "bad");
      return;
    }
    if (!written.editable) {
      options.notify(`${channel} cannot be changed here: ${written.reason ?? ""}`, "bad");
      return;
    }
  }
  new Form(options, fleetwide, channel, written).open();
}
