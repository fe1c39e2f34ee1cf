// SPDX-License-Identifier: MIT
// Elements made in one expression. Text is always text: nothing here takes markup.

export type Child = Node | string | null | undefined | false;
type Attributes = Record<string, string | number | boolean | ((event: never) => void)>;

/** An element; attributes that are functions listen ("onclick"), false leaves one out. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K, attributes: Attributes = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function")
      element.addEventListener(name.slice(2), value as EventListener);
    else if (value !== false)
      element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child): child is Node | string => !!child));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

const PATHS = {
  logo: "M3 17l4.5-6 4 3.5L16 5l5 8.5",
  search: "M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM15.5 15.5 21 21",
  plus: "M12 5v14M5 12h14",
  check: "M5 12.5l4.5 4.5L19 7.5",
  chevron: "M9 6l6 6-6 6",
  close: "M6 6l12 12M18 6 6 18",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2.5M12 19.5V22M4.9 4.9l1.8 1.8M17.3 17.3l1.8 1.8" +
    "M2 12h2.5M19.5 12H22M4.9 19.1l1.8-1.8M17.3 6.7l1.8-1.8",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z",
  keys: "M4 6h16a1 1 0 0 1 1 1v10a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1V7a1 1 0 0 1 1-1zM7 10h.01" +
    "M11 10h.01M15 10h.01M8 14h8",
  panel: "M4 5h16v14H4zM9.5 5v14",
  down: "M12 4v11M7 11l5 5 5-5M5 20h14",
  chart: "M4 4v16h16M7.5 15l3.5-5 3 3 4.5-7",
  again: "M20 11a8 8 0 1 0-2.3 6.3M20 4v7h-7",
  pin: "M9 4h6l-1 6 3 3H7l3-3zM12 13v7",
} as const;

/** A line drawing of 24 by 24; for the eye alone. */
export function icon(name: keyof typeof PATHS): SVGSVGElement {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

/** A label and what it is of, on one line. */
export function pair(id: string, label: string, input: HTMLElement): HTMLElement {
  return h("span", { class: "pair" }, h("label", { for: id }, label), input);
}

/** Sets text only where it is another: what has not changed is not drawn again. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

export function setAttribute(element: Element, name: string, value: string | null): void {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** Makes the children of `parent` those of `items`, keeping an item's element by its key. */
export function keyed<T, E extends HTMLElement>(
  parent: Element, items: T[], key: (item: T) => string, make: (item: T) => E,
  update: (element: E, item: T) => void): void {
  const there = new Map<string, E>();
  for (const child of [...parent.children] as E[]) there.set(child.dataset.key ?? "", child);
  let at: Element | null = parent.firstElementChild;
  for (const item of items) {
    const name = key(item);
    let element = there.get(name);
    there.delete(name);
    if (!element) {
      element = make(item);
      element.dataset.key = name;
    }
    update(element, item);
    if (element === at) at = at.nextElementSibling;
    else parent.insertBefore(element, at);
  }
  for (const gone of there.values()) gone.remove();
}
