// SPDX-License-Identifier: MIT
// The client of docs/internals/live.md: one WebSocket, all that is looked at and asked for over it.
// It connects again by itself and asks anew for what was looked at; binary messages become views.
// Times are bigint nanoseconds since 1970; only columns have doubles.

export type Ns = bigint;

export interface FieldInfo {
  name: string;
  type: string; // as the gateway says it: "double", "long", "enum", "boolean", "string", ...
  unit: string | null;
  doc: string | null;
  symbols: string[] | null; // of enums
}

/** Bins; `min` and `max` are views of the message, one pair a field: keep by copying. Row i is
 * [t0 + i width, t0 + (i + 1) width); `width` may be a multiple of what was asked for. They are
 * merged by minimum and maximum into what is there. NaN: nothing there. */
export interface Bins {
  past: boolean; // kind 3
  coarse: boolean; // a finer answer follows and replaces it
  first: boolean;
  last: boolean;
  rows: number;
  t0: Ns;
  width: Ns;
  min: Float64Array[];
  max: Float64Array[];
}

/** Single datums: `seconds` since t0, `values` a column a field; views of the message. */
export interface Samples {
  coarse: boolean;
  first: boolean;
  last: boolean;
  rows: number;
  t0: Ns;
  seconds: Float64Array;
  values: Float64Array[];
}

export interface Subscribed {
  channel: string;
  binNs: Ns;
  clock: "own" | "arrival";
  source: "decimated" | "full" | "recording";
  exact: boolean;
  algorithm: string | null;
  fields: FieldInfo[];
}

export interface Gap {
  channel: string;
  from: Ns;
  to: Ns;
  reason: string;
  count: number | null; // null: nobody knows
}

/** Values of `latest`; integers beyond 2^53 are bigint, exact. */
export type Latest = Record<string, unknown>;

export interface SubscribeRequest {
  channel: string;
  fields: string[]; // "speed", "pump.pressure", "cylinders[0]"
  binNs: Ns; // 0n: single datums
  backNs: Ns;
  latest?: boolean;
}

/** All are optional; none is called after close(), nor from within subscribe(). After a lost
 * connection, and where a channel's schema changed, the client subscribes anew by itself, with as
 * much more of the past as it was away: onSubscribed comes again, then the past again (bins are
 * absolute: merge). After change() nothing of the old request comes any more. */
export interface SubscribeEvents {
  onSubscribed?(what: Subscribed): void; // again where the source or `exact` is another
  onBins?(bins: Bins): void;
  onSamples?(samples: Samples): void;
  onPast?(): void; // all of the past is there
  onLatest?(at: Ns, values: Latest): void;
  onGap?(gap: Gap): void;
  onSkipped?(datums: number): void;
  onEnded?(reason: string): void; // asked for again by itself
  onError?(text: string): void; // refused; asked for again now and then
}

export interface Subscription {
  readonly id: number;
  change(request: SubscribeRequest): void;
  close(): void;
}

export interface HistoryRequest {
  channel: string;
  fields: string[];
  from: Ns;
  to: Ns;
  points: number;
}

export interface HistoryEnd {
  exact: boolean;
  binNs: Ns;
  clock: "own" | "arrival";
  level: number;
  rowsRead: number;
  bytesRead: number;
  gaps: Gap[];
}

export interface HistoryEvents {
  onBins?(bins: Bins): void; // `first` begins an answer, which replaces a coarse one
  onSamples?(samples: Samples): void;
  onEnd?(end: HistoryEnd): void;
  onError?(text: string): void; // also: the connection was lost; ask again when it is open
}

export interface HistoryQuery {
  cancel(): void; // nothing of it is called afterwards
}

export interface Status {
  state: "connecting" | "open" | "waiting" | "refused"; // waiting: for the next try; refused: token
  reason: string; // in words; "" when open
  retryAt: number; // performance.now() of the next try; 0: none
  version: string; // of the gateway; "" before the first hello
}

/** A channel as `flotilla status --json` has it. */
export interface Channel {
  name: string;
  state: string;
  [counter: string]: unknown;
}

export interface LiveClient {
  subscribe(request: SubscribeRequest, events: SubscribeEvents): Subscription;
  history(request: HistoryRequest, events: HistoryEvents): HistoryQuery;
  readonly status: Status;
  readonly channels: Channel[] | null; // null: no manager answers, or not known yet
  /** The gateway's clock now, by its hello and the browser's monotonic clock. */
  nowNs(): Ns;
  onStatus(listener: (status: Status) => void): () => void; // returns: stop listening
  onChannels(listener: (channels: Channel[] | null, reason: string) => void): () => void;
}

export interface LiveOptions {
  url: string; // ws://.../api/v1/live
  token(): string; // "" where there is none
  /** Asked when a connection could not be opened: why, and whether it is for want of a token. */
  why(): Promise<{ refused: boolean; reason: string }>;
}

const SUBPROTOCOL = "flotilla.live.v1";
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 8000;
const SILENCE_MS = 20000; // after which is asked whether the gateway is there
const AGAIN_MS = [500, 1000, 2000, 5000, 10000]; // for what was refused or ended
const BINS_MAX = 100000n;
const HEAD_BYTES = 32;
const KIND_NOW = 1;
const KIND_SAMPLES = 2;
const KIND_PAST = 3;

type Message = Record<string, unknown> & { op?: string; id?: number | null };

/** JSON whose integers beyond 2^53 become bigint, where the browser tells what was written. */
export function parseJson(text: string): unknown {
  if (!/[:,[]\s*-?\d{16,}/.test(text)) return JSON.parse(text);
  const exact = (_key: string, value: unknown, context?: { source: string }) =>
    typeof value === "number" && !Number.isSafeInteger(value) && context &&
    /^-?\d+$/.test(context.source) ? BigInt(context.source) : value;
  return JSON.parse(text, exact as (key: string, value: unknown) => unknown);
}

function ns(value: unknown): Ns {
  try {
    return BigInt(value as string);
  } catch {
    return 0n;
  }
}

function gapOf(message: Message, channel: string): Gap {
  return {
    channel: String(message.channel ?? channel),
    from: ns(message.from),
    to: ns(message.to),
    reason: String(message.reason ?? ""),
    count: typeof message.count === "number" ? message.count : null,
  };
}

/** A letter that no subprotocol may have stands percent-encoded. */
function bearer(token: string): string {
  return "bearer." + encodeURIComponent(token).replace(/[()]/g, (letter) =>
    "%" + letter.charCodeAt(0).toString(16));
}

interface Look {
  readonly id: number;
  request: SubscribeRequest;
  events: SubscribeEvents;
  unanswered: number; // subscribe messages that nothing has come back for
  attempts: number; // refusals and ends since it was last subscribed
  again: number; // timer
}

interface Query {
  readonly id: number;
  request: HistoryRequest;
  events: HistoryEvents;
}

export class Live implements LiveClient {
  status: Status = { state: "connecting", reason: "", retryAt: 0, version: "" };
  channels: Channel[] | null = null;
  private parts: Channel[] = []; // so far

  private socket: WebSocket | null = null;
  private lastId = 0;
  private looks = new Map<number, Look>();
  private queries = new Map<number, Query>();
  private statusListeners = new Set<(status: Status) => void>();
  private channelListeners = new Set<(channels: Channel[] | null, reason: string) => void>();
  private waitMs = FIRST_WAIT_MS;
  private timer = 0;
  private silence = 0;
  private clockNs = BigInt(Date.now()) * 1000000n; // the gateway's ...
  private clockAt = performance.now(); // ... then
  private lostAt = 0; // performance.now() of the connection's end; 0: never lost

  constructor(private options: LiveOptions) {
    const now = () => this.status.state === "waiting" && this.connect();
    addEventListener("online", now);
    document.addEventListener("visibilitychange", () => document.hidden || now());
    this.connect();
  }

  // ---- what is asked for ----

  subscribe(request: SubscribeRequest, events: SubscribeEvents): Subscription {
    const look: Look = { id: ++this.lastId, request, events, unanswered: 0, attempts: 0, again: 0 };
    this.looks.set(look.id, look);
    this.ask(look, request.backNs);
    return {
      id: look.id,
      change: (next) => {
        if (!this.looks.has(look.id)) return;
        look.request = next;
        look.attempts = 0;
        this.ask(look, next.backNs);
      },
      close: () => {
        if (!this.looks.delete(look.id)) return;
        clearTimeout(look.again);
        this.send({ op: "unsubscribe", id: look.id });
      },
    };
  }

  history(request: HistoryRequest, events: HistoryEvents): HistoryQuery {
    const query: Query = { id: ++this.lastId, request, events };
    this.queries.set(query.id, query);
    if (!this.send({
      op: "history", id: query.id, channel: request.channel, fields: request.fields,
      from: String(request.from), to: String(request.to), points: request.points,
    }))
      queueMicrotask(() => this.fail(query, "the gateway is not connected"));
    return {
      cancel: () => {
        if (this.queries.delete(query.id)) this.send({ op: "cancel", id: query.id });
      },
    };
  }

  nowNs(): Ns {
    return this.clockNs + BigInt(Math.round((performance.now() - this.clockAt) * 1e6));
  }

  onStatus(listener: (status: Status) => void): () => void {
    this.statusListeners.add(listener);
    return () => void this.statusListeners.delete(listener);
  }

  onChannels(listener: (channels: Channel[] | null, reason: string) => void): () => void {
    this.channelListeners.add(listener);
    return () => void this.channelListeners.delete(listener);
  }

  /** Tries at once: there is another token, or somebody does not want to wait. */
  retry(): void {
    this.waitMs = FIRST_WAIT_MS;
    if (this.socket && this.socket.readyState <= WebSocket.OPEN) this.drop(this.socket);
    this.connect();
  }

  private ask(look: Look, backNs: Ns): void {
    clearTimeout(look.again);
    look.again = 0;
    const { channel, fields, binNs, latest } = look.request;
    if (backNs > binNs * BINS_MAX) backNs = binNs * BINS_MAX; // of single datums none
    if (this.send({
      op: "subscribe", id: look.id, channel, fields, bin_ns: String(binNs),
      back_ns: String(backNs), latest: latest === true,
    }))
      look.unanswered++;
  }

  private askLater(look: Look): void {
    clearTimeout(look.again);
    const wait = AGAIN_MS[Math.min(look.attempts++, AGAIN_MS.length - 1)] ?? 1000;
    look.again = window.setTimeout(() => this.ask(look, look.request.backNs), wait);
  }

  private fail(query: Query, text: string): void {
    if (this.queries.delete(query.id)) query.events.onError?.(text);
  }

  private send(message: object): boolean {
    if (this.socket?.readyState !== WebSocket.OPEN || this.status.state !== "open") return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  // ---- the connection ----

  private tell(state: Status["state"], reason: string, retryAt = 0): void {
    this.status = { state, reason, retryAt, version: this.status.version };
    for (const listener of [...this.statusListeners]) listener(this.status);
  }

  private connect(): void {
    clearTimeout(this.timer);
    if (this.socket) return;
    if (this.status.state !== "connecting") this.tell("connecting", this.status.reason);
    const token = this.options.token();
    const socket = new WebSocket(
      this.options.url, token ? [SUBPROTOCOL, bearer(token)] : [SUBPROTOCOL]);
    socket.binaryType = "arraybuffer";
    socket.onmessage = (event) => this.socket === socket && this.message(event.data);
    socket.onclose = (event) => {
      if (this.socket !== socket) return;
      const was = this.status.state === "open";
      this.drop(socket);
      void this.later(was, event.reason);
    };
    this.socket = socket;
  }

  /** Lets go of a socket, whatever it still has to say. */
  private drop(socket: WebSocket): void {
    clearTimeout(this.silence);
    if (this.status.state === "open") this.lostAt = performance.now();
    this.socket = null;
    socket.onmessage = socket.onclose = null;
    socket.close();
    for (const look of this.looks.values()) {
      clearTimeout(look.again);
      look.unanswered = 0;
    }
    for (const query of [...this.queries.values()])
      this.fail(query, "the connection to the gateway was lost");
  }

  private async later(was: boolean, told: string): Promise<void> {
    if (was) this.waitMs = FIRST_WAIT_MS;
    const waitMs = this.waitMs * (0.7 + 0.6 * Math.random());
    this.waitMs = Math.min(this.waitMs * 1.7, LONGEST_WAIT_MS);
    const lost = told ? `the gateway closed the connection: ${told}` : "the connection was lost";
    this.tell("waiting", was ? lost : this.status.reason || "the gateway does not answer",
      performance.now() + waitMs);
    this.timer = window.setTimeout(() => this.connect(), waitMs);
    const { refused, reason } = await this.options.why();
    if (this.status.state !== "waiting") return;
    if (refused) {
      clearTimeout(this.timer);
      this.tell("refused", reason);
    } else {
      this.tell("waiting", reason, this.status.retryAt);
    }
  }

  private listen(): void {
    clearTimeout(this.silence);
    this.silence = window.setTimeout(async () => {
      const socket = this.socket;
      const { reason } = await this.options.why();
      if (!socket || this.socket !== socket) return;
      if (reason === "" || document.hidden) {
        this.listen();
        return;
      }
      this.drop(socket);
      void this.later(true, reason);
    }, SILENCE_MS);
  }

  // ---- what comes ----

  private message(data: unknown): void {
    this.listen();
    if (data instanceof ArrayBuffer) {
      this.columns(data);
      return;
    }
    let message: Message;
    try {
      message = parseJson(String(data)) as Message;
    } catch {
      console.error("a message of the gateway is no JSON");
      return;
    }
    if (message.op === "hello") this.hello(message);
    else if (message.op === "channels") this.fleet(message);
    else if (message.op === "history_end") this.historyEnd(message);
    else if (message.op === "error" && this.queries.has(Number(message.id)))
      this.fail(this.queries.get(Number(message.id))!, String(message.text ?? ""));
    else if (this.looks.has(Number(message.id)))
      this.ofLook(this.looks.get(Number(message.id))!, message);
  }

  private hello(message: Message): void {
    this.clockNs = ns(message.now);
    this.clockAt = performance.now();
    this.waitMs = FIRST_WAIT_MS;
    this.status.version = String(message.version ?? "");
    const looks = [...this.looks.values()];
    const away = this.lostAt > 0 ? BigInt(Math.round(performance.now() - this.lostAt)) : 0n;
    this.lostAt = 0;
    this.tell("open", "");
    for (const look of looks)
      if (this.looks.has(look.id)) this.ask(look, look.request.backNs + away * 1000000n);
  }

  private fleet(whole: Message): void {
    let message = whole;
    if (Number(whole.parts ?? 1) > 1) { // of a large fleet
      if (whole.part === 0) this.parts = [];
      this.parts.push(...whole.channels as Channel[]);
      if (Number(whole.part) + 1 < Number(whole.parts)) return;
      message = { ...whole, channels: this.parts };
      this.parts = [];
    }
    const before = new Set(this.channels?.map((one) => one.name));
    this.channels = Array.isArray(message.channels) ? message.channels as Channel[] : null;
    for (const listener of [...this.channelListeners])
      listener(this.channels, String(message.reason ?? ""));
    const come = new Set(this.channels?.map((one) => one.name).filter((one) => !before.has(one)));
    for (const look of [...this.looks.values()])
      if (look.again && come.has(look.request.channel)) this.ask(look, look.request.backNs);
  }

  private ofLook(look: Look, message: Message): void {
    const { events } = look;
    if (message.op === "subscribed" || message.op === "error" || message.op === "ended") {
      if (look.unanswered > 0) look.unanswered--;
      if (look.unanswered > 0) return;
    } else if (look.unanswered > 0) {
      return; // of what it was before
    }
    switch (message.op) {
      case "subscribed":
        look.attempts = 0;
        clearTimeout(look.again);
        look.again = 0;
        events.onSubscribed?.({
          channel: String(message.channel),
          binNs: ns(message.bin_ns),
          clock: message.clock === "own" ? "own" : "arrival",
          source: message.source as Subscribed["source"],
          exact: message.exact === true,
          algorithm: typeof message.algorithm === "string" ? message.algorithm : null,
          fields: (message.fields as FieldInfo[]).map((field) => ({
            name: field.name, type: field.type, unit: field.unit ?? null, doc: field.doc ?? null,
            symbols: field.symbols ?? null,
          })),
        });
        break;
      case "error":
        events.onError?.(String(message.text ?? ""));
        if (this.looks.has(look.id)) this.askLater(look);
        break;
      case "ended":
        events.onEnded?.(String(message.reason ?? ""));
        if (this.looks.has(look.id)) this.askLater(look);
        break;
      case "past":
        events.onPast?.();
        break;
      case "latest":
        events.onLatest?.(ns(message.at), message.values as Latest);
        break;
      case "gap":
        events.onGap?.(gapOf(message, look.request.channel));
        break;
      case "skipped":
        events.onSkipped?.(Number(message.datums));
        break;
    }
  }

  private historyEnd(message: Message): void {
    const query = this.queries.get(Number(message.id));
    if (!query) return;
    this.queries.delete(query.id);
    query.events.onEnd?.({
      exact: message.exact === true,
      binNs: ns(message.bin_ns),
      clock: message.clock === "own" ? "own" : "arrival",
      level: Number(message.level ?? 0),
      rowsRead: Number(message.rows_read ?? 0),
      bytesRead: Number(message.bytes_read ?? 0),
      gaps: (Array.isArray(message.gaps) ? message.gaps as Message[] : [])
        .map((gap) => gapOf(gap, query.request.channel)),
    });
  }

  private columns(buffer: ArrayBuffer): void {
    if (buffer.byteLength < HEAD_BYTES) {
      console.error("a message of the gateway is too short");
      return;
    }
    const view = new DataView(buffer);
    const kind = view.getUint8(0), flags = view.getUint8(1), fields = view.getUint16(2, true);
    const id = view.getUint32(4, true), rows = view.getUint32(8, true);
    const columns = kind === KIND_SAMPLES ? 1 + fields : 2 * fields;
    if (buffer.byteLength !== HEAD_BYTES + 8 * rows * columns ||
        kind < KIND_NOW || kind > KIND_PAST) {
      console.error("a message of the gateway is not as long as it says");
      return;
    }
    const look = this.looks.get(id);
    const events = look ? look.events : this.queries.get(id)?.events;
    if (!events || (look && look.unanswered > 0)) return;
    const column = (index: number) =>
      new Float64Array(buffer, HEAD_BYTES + 8 * rows * index, rows);
    const head = {
      coarse: (flags & 1) !== 0,
      first: (flags & 2) !== 0,
      last: (flags & 4) !== 0,
      rows,
      t0: view.getBigInt64(16, true),
    };
    if (kind === KIND_SAMPLES) {
      const values = Array.from({ length: fields }, (_, field) => column(1 + field));
      events.onSamples?.({ ...head, seconds: column(0), values });
      return;
    }
    const min: Float64Array[] = [], max: Float64Array[] = [];
    for (let field = 0; field < fields; field++) {
      min.push(column(2 * field));
      max.push(column(2 * field + 1));
    }
    const width = view.getBigInt64(24, true);
    events.onBins?.({ ...head, past: kind === KIND_PAST, width, min, max });
  }
}
