// SPDX-License-Identifier: MIT
// The gateway's REST, with the token by header. Paths are below the page's own address, so that the
// page also works behind a proxy's prefix.
import { askToken, token } from "./token";

/** What was refused, in words (RFC 9457). */
export class Problem extends Error {
  constructor(
    readonly status: number, // 0: the gateway could not be asked
    message: string,
    readonly errors: { pointer: string; detail: string; warning: boolean }[] = []) {
    super(message);
  }
}

async function problemOf(response: Response): Promise<Problem> {
  const fallback = `${response.status} ${response.statusText}`;
  try {
    const told = await response.json();
    return new Problem(response.status, String(told.detail ?? told.title ?? fallback),
      Array.isArray(told.errors) ? told.errors : []);
  } catch {
    return new Problem(response.status, fallback);
  }
}

export function address(path: string): URL {
  return new URL(path, document.baseURI);
}

async function once(path: string, init: RequestInit): Promise<Response> {
  const headers = new Headers(init.headers);
  if (token()) headers.set("Authorization", `Bearer ${token()}`);
  try {
    return await fetch(address(path), { ...init, headers, cache: "no-store" });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new Problem(0, "the gateway does not answer");
  }
}

/** fetch() with the token; what is refused is thrown as a Problem, for want of a token one is asked
 * for first. */
export async function rest(path: string, init: RequestInit = {}): Promise<Response> {
  let response = await once(path, init);
  if (response.status === 401) {
    await askToken(token() !== "");
    response = await once(path, init);
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

export async function json<T>(path: string, init: RequestInit = {}): Promise<T> {
  return await (await rest(path, init)).json() as T;
}

/** A change: with a body as JSON, or none. */
export function send<T>(method: string, path: string, body?: unknown,
  headers: Record<string, string> = {}): Promise<T> {
  return json<T>(path, {
    method,
    headers: { ...headers, ...(body === undefined ? {} : { "Content-Type": "application/json" }) },
    body: body === undefined ? null : JSON.stringify(body),
  });
}

/** Whether the gateway can be asked, and if not, why; without asking anybody for a token. */
export async function why(): Promise<{ refused: boolean; reason: string }> {
  try {
    const response = await once("api/v1/health", { signal: AbortSignal.timeout(8000) });
    if (response.status === 401)
      return { refused: true, reason: token() ? "the token is not taken" : "a token is asked for" };
    if (response.ok || response.status === 503) return { refused: false, reason: "" };
    return { refused: false, reason: (await problemOf(response)).message };
  } catch {
    return { refused: false, reason: "the gateway does not answer" };
  }
}

/** Saves an answer as the file that it says it is. A recording, where no token is needed, the
 * browser fetches itself, as it comes. */
export async function download(path: string): Promise<void> {
  const link = document.createElement("a");
  link.rel = "noopener";
  if (!token() && path.startsWith("api/v1/files/")) {
    await rest(path, { method: "HEAD" });
    link.href = address(path).href;
    link.download = "";
    link.click();
    return;
  }
  const response = await rest(path);
  const name = /filename="([^"]*)"/.exec(response.headers.get("Content-Disposition") ?? "");
  link.download = name?.[1] ?? "flotilla";
  link.href = URL.createObjectURL(await response.blob());
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
