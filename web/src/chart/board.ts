// SPDX-License-Identifier: MIT
// All of the charts together, as the shell calls them.
import type { FieldInfo, LiveClient } from "../live";

export interface Signal {
  channel: string;
  field: string; // dotted path, "cylinders[0]" for an item
}

export interface BoardOptions {
  client: LiveClient;
  /** fetch() with the token, below the gateway's root; throws Problem. */
  rest(path: string, init?: RequestInit): Promise<Response>;
  /** What the schema says of a field; null while it is not known. */
  fieldInfo(signal: Signal): FieldInfo | null;
  /** What save() says has changed, or which signals are shown. */
  onChange(): void;
  /** A sentence for screen readers. */
  announce(text: string): void;
  /** A notice that stands for some seconds. */
  notify(text: string, kind: "info" | "bad"): void;
  /** Saves an answer as a file by its Content-Disposition. */
  download(path: string): Promise<void>;
}

export interface Board {
  add(signal: Signal, where?: "last" | "new" | number): void;
  remove(signal: Signal): void; // from all charts
  shown(): Signal[];
  /** The view as parameters of the URL's hash; restore() takes them. */
  save(): URLSearchParams;
  restore(view: URLSearchParams): void;
  setTheme(theme: "light" | "dark"): void;
  setVisible(visible: boolean): void;
  /** A key that was not typed into a field; true: taken. */
  key(event: KeyboardEvent): boolean;
  keys(): { keys: string; does: string }[];
  destroy(): void;
}

export function createBoard(element: HTMLElement, options: BoardOptions): Board {
  let signals: Signal[] = [];
  const draw = () => {
    element.replaceChildren(...signals.map((signal) => {
      const line = document.createElement("p");
      line.textContent = `${signal.channel} ${signal.field}`;
      return line;
    }));
    options.onChange();
  };
  const same = (a: Signal, b: Signal) => a.channel === b.channel && a.field === b.field;
  return {
    add(signal) {
      if (!signals.some((one) => same(one, signal))) signals.push(signal);
      draw();
    },
    remove(signal) {
      signals = signals.filter((one) => !same(one, signal));
      draw();
    },
    shown: () => signals,
    save: () => new URLSearchParams(
      signals.map(({ channel, field }) => ["c", `${channel}:${field}`])),
    restore(view) {
      signals = view.getAll("c").flatMap((chart) => chart.split(",")).map((one) => {
        const [channel = "", field = ""] = one.split(/:(.*)/);
        return { channel, field };
      });
      draw();
    },
    setTheme() {},
    setVisible() {},
    key: () => false,
    keys: () => [],
    destroy() {
      element.replaceChildren();
    },
  };
}
