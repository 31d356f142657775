import { EventSourceParserStream } from "eventsource-parser/stream";

import { api, ask, sure } from "../api/client";
import { key } from "../api/session";
import { type Event, live } from "../state/live.svelte";

/** How many events are kept to be read. */
export const KEPT = 2_000;
/** How far back a page that is opened looks. */
const BACK = 500;

/** The last events, the oldest first. */
export class EventLog {
  events = $state.raw<Event[]>([]);
  loaded = $state(false);

  /** Begins to listen, until what is returned is called. */
  start(): () => void {
    const over = new AbortController();
    const load = () => this.#history(over.signal);
    const stops = [live.listen((events) => this.#add(events)), live.onReload(load)];
    void load();
    return () => {
      over.abort();
      for (const stop of stops) stop();
    };
  }

  #add(events: Event[]): void {
    this.events = joined(this.events, events);
  }

  async #history(signal: AbortSignal): Promise<void> {
    try {
      const { log } = await sure(api.GET("/api/v1/status", { signal }));
      const before = await read(log.log_id, log.seq, signal);
      this.events = joined(before, this.events);
    } catch {
      // What happens from now on is shown all the same; without contact the frame says so.
    }
    this.loaded = true;
  }
}

/** Both, without what is in both, and no more than are kept. */
export function joined(before: Event[], after: Event[]): Event[] {
  const last = before.at(-1)?.seq ?? 0;
  const fresh = after.filter((event) => event.seq > last);
  return [...before, ...fresh].slice(-KEPT);
}

/** What the log has before a place that it had already reached, so the stream is there at once and need not stay. */
async function read(log: string, end: number, signal: AbortSignal): Promise<Event[]> {
  const begin = Math.max(0, end - BACK);
  if (begin === end) return [];
  const found: Event[] = [];
  const enough = new AbortController();
  const query = new URLSearchParams({ after: `${log}:${begin}` });
  const headers = { "X-CCM-CSRF": key() };
  const request = new Request(`/api/v1/events?${query}`, {
    headers,
    signal: AbortSignal.any([signal, enough.signal]),
    cache: "no-store",
  });
  const response = await ask(request);
  if (!response.ok || response.body === null) return found;
  const messages = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
  const reader = messages.getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    const { event, data } = next.value;
    if (event === "resync") break;
    if (event === undefined || data === "") continue;
    const happened = JSON.parse(data) as Event;
    if (happened.seq <= end) found.push(happened);
    if (happened.seq >= end) break;
  }
  enough.abort();
  return found;
}
