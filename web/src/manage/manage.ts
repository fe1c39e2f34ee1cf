// SPDX-License-Identifier: MIT
// The page Manage: channels, recordings, the doctor's findings, pins; one tab at a time.
import { h, setAttribute } from "../dom";
import type { Fleet } from "../fleet";
import { ChannelsTab } from "./channels";
import { DoctorTab } from "./doctor";
import { PinsTab } from "./pins";
import { RecordingsTab } from "./recordings";

export interface ManageOptions {
  fleet: Fleet;
  notify(text: string, kind: "info" | "bad"): void;
  /** Shows the channel among the signals. */
  show(channel: string): void;
  /** Shows a span of the past in the charts; RFC 3339. */
  showSpan(channel: string, from: string, to: string): void;
  /** Another tab: the address is another one. */
  changed(): void;
  confirmed(title: string, text: string, yes: string): Promise<boolean>;
}

export interface Tab {
  readonly element: HTMLElement;
  /** It is looked at, perhaps for one channel. */
  show(channel: string): void;
  /** The fleet has changed; only while it is looked at. */
  update(): void;
}

export class Manage {
  readonly element = h("main", { class: "page manage", tabindex: -1, "aria-label": "Manage" });
  private tabs: Record<string, { label: string; tab: Tab }>;
  private links: Record<string, HTMLAnchorElement> = {};
  private body = h("div", { class: "tab-body" });
  private now = "channels";
  private channel = "";
  private visible = false;

  constructor(private options: ManageOptions) {
    this.tabs = {
      channels: { label: "Channels", tab: new ChannelsTab(options, this) },
      recordings: { label: "Recordings", tab: new RecordingsTab(options, this) },
      pins: { label: "Pins", tab: new PinsTab(options) },
      doctor: { label: "Doctor", tab: new DoctorTab(options) },
    };
    const nav = h("nav", { class: "tabs", "aria-label": "Manage" });
    for (const [name, { label }] of Object.entries(this.tabs)) {
      const link = h("a", {
        href: `#page=manage&tab=${name}`, onclick: (event: MouseEvent) => {
          if (event.ctrlKey || event.metaKey || event.shiftKey) return;
          event.preventDefault();
          this.go(name, "");
        },
      }, label);
      this.links[name] = link;
      nav.append(link);
    }
    this.element.append(nav, this.body);
    this.element.hidden = true;
  }

  /** To another tab, perhaps for one channel. */
  go(tab: string, channel: string): void {
    this.use(tab, channel);
    this.options.changed();
  }

  private use(tab: string, channel: string): void {
    this.now = this.tabs[tab] ? tab : "channels";
    this.channel = channel;
    for (const [name, link] of Object.entries(this.links))
      setAttribute(link, "aria-current", name === this.now ? "page" : null);
    const { tab: shown } = this.tabs[this.now]!;
    this.body.replaceChildren(shown.element);
    if (this.visible) shown.show(channel);
  }

  save(): URLSearchParams {
    const params = new URLSearchParams();
    if (this.now !== "channels") params.set("tab", this.now);
    if (this.channel) params.set("channel", this.channel);
    return params;
  }

  restore(params: URLSearchParams): void {
    this.use(params.get("tab") ?? "channels", params.get("channel") ?? "");
  }

  setVisible(visible: boolean): void {
    this.visible = visible;
    this.element.hidden = !visible;
    if (visible) this.tabs[this.now]!.tab.show(this.channel);
  }

  update(): void {
    if (this.visible) this.tabs[this.now]!.tab.update();
  }
}
