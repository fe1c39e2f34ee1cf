// SPDX-License-Identifier: MIT
// What is known of the fleet: channels as the gateway tells them, their schemas as they are needed.
// Where the live socket is not to be had, REST is asked instead, more slowly.
import type { Channel, Live } from "./live";
import { Problem, json, rest } from "./rest";
import { type Field, findField, readSchema } from "./schema";

const POLL_MS = 2000;
const TOGETHER = 4; // schemas that are asked for at a time

export interface Known {
  fields: Field[];
  doc: string | null;
  error: string; // why there is none; ""
}

export class Fleet {
  channels: Channel[] = [];
  /** Whether it is known at all what channels there are. */
  known = false;
  reason = "";
  readOnly = false;

  private schemas = new Map<string, Known>();
  private asked = new Set<string>();
  private running = 0;
  private waiting: string[] = [];
  private pids = new Map<string, unknown>();
  private listeners = new Set<() => void>();

  constructor(private live: Live) {
    live.onChannels((channels, reason) => this.take(channels, reason));
    live.onStatus((status) => {
      if (status.state === "open") void this.askHealth();
    });
    setInterval(() => {
      if (live.status.state !== "open" && live.status.state !== "refused" && !document.hidden)
        void this.poll();
    }, POLL_MS);
  }

  onChange(listener: () => void): void {
    this.listeners.add(listener);
  }

  channel(name: string): Channel | null {
    return this.channels.find((channel) => channel.name === name) ?? null;
  }

  /** The fields of a channel; null while they are not known: onChange tells when they are. */
  schema(name: string): Known | null {
    const known = this.schemas.get(name);
    if (!this.asked.has(name)) {
      this.asked.add(name);
      this.waiting.push(name);
      this.next();
    }
    return known ?? null;
  }

  field(channel: string, path: string): Field | null {
    const known = this.schemas.get(channel);
    return known ? findField(known.fields, path) : null;
  }

  /** Its schema may have become another: it is read again, the old one stands until then. */
  forget(name: string): void {
    this.asked.delete(name);
  }

  private changed(): void {
    for (const listener of [...this.listeners]) listener();
  }

  private take(channels: Channel[] | null, reason: string): void {
    this.reason = channels ? "" : reason || "no manager answers";
    this.known = true;
    if (channels) {
      this.channels = channels;
      for (const channel of channels) {
        // Another relay may have another schema.
        if (this.pids.has(channel.name) && this.pids.get(channel.name) !== channel.pid)
          this.forget(channel.name);
        this.pids.set(channel.name, channel.pid);
      }
      const names = new Set(channels.map((channel) => channel.name));
      for (const name of [...this.schemas.keys()])
        if (!names.has(name)) {
          this.forget(name);
          this.schemas.delete(name);
        }
    }
    this.changed();
  }

  private async poll(): Promise<void> {
    try {
      const { channels } = await json<{ channels: Channel[] }>("api/v1/channels");
      if (this.live.status.state !== "open") this.take(channels, "");
    } catch (error) {
      if (error instanceof Problem && error.status > 0) this.take(null, error.message);
    }
  }

  private async askHealth(): Promise<void> {
    try {
      const health = await json<{ read_only?: boolean }>("api/v1/health");
      this.readOnly = health.read_only === true;
      this.changed();
    } catch {
      // It is asked again with the next connection.
    }
  }

  private next(): void {
    while (this.running < TOGETHER && this.waiting.length > 0) {
      this.running++;
      void this.load(this.waiting.shift()!).finally(() => {
        this.running--;
        this.next();
        this.changed();
      });
    }
  }

  private async load(name: string): Promise<void> {
    try {
      const response = await rest(`api/v1/channels/${encodeURIComponent(name)}/schema`);
      this.schemas.set(name, { ...readSchema(await response.text()), error: "" });
    } catch (error) {
      if (!this.schemas.get(name)?.fields.length)
        this.schemas.set(name, { fields: [], doc: null, error: (error as Error).message });
      setTimeout(() => this.forget(name), 5000);
    }
  }
}
