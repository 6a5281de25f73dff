// Requests to the server: JSON both ways, streams of events, and the key where one is demanded.

const KEY = "gigaro key";

/** What the server said when it did not do what was asked. */
export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function key() {
  try { return sessionStorage.getItem(KEY) ?? ""; } catch { return memory; }
}

/** A browser that keeps nothing has it until the page is left. */
let memory = "";

export function setKey(text) {
  memory = text;
  try { sessionStorage.setItem(KEY, text); } catch { /* `memory` has it */ }
}

async function request(method, path, body, signal) {
  const headers = {};
  if (key()) headers.Authorization = `Bearer ${key()}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, "The server does not answer. Is it still running?");
  }
  if (response.ok) return response;
  const answer = await response.json().catch(() => null);
  throw new Refusal(response.status, answer?.error?.message ?? `The server answered with the status ${response.status}.`);
}

/** The JSON that a request gives; nothing where the answer is empty. */
export async function ask(method, path, body) {
  const response = await request(method, path, body);
  return response.status === 204 ? undefined : response.json();
}

/** Saves what a request gives as a file, under the name that the server gives it. */
export async function save(path) {
  const response = await request("GET", path);
  const name = /filename="([^"]+)"/.exec(response.headers.get("Content-Disposition") ?? "")?.[1];
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = name ?? "gigaro.txt";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Reads server-sent events and hands each over with its kind and its JSON; returns at their end. */
export async function events(method, path, body, signal, each) {
  const response = await request(method, path, body, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    let part;
    try { part = await reader.read(); } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Refusal(0, "The connection to the server broke off.");
    }
    if (part.done) return;
    rest += part.value.replaceAll("\r\n", "\n");
    const whole = rest.split("\n\n");
    rest = whole.pop();
    for (const event of whole) {
      let kind = "message";
      let data = "";
      for (const line of event.split("\n")) {
        if (line.startsWith("event:")) kind = line.slice(6).trim();
        else if (line.startsWith("data:")) data += line.slice(5).trimStart();
      }
      if (data) each(kind, JSON.parse(data));
    }
  }
}
