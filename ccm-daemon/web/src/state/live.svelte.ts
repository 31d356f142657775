import { EventSourceParserStream } from "eventsource-parser/stream";

import { api, ask, NoContact, Refusal, refusedAs, type Schema, sure } from "../api/client";
import { key } from "../api/session";

export type Event = Schema["Event"];

/** How the page stands with the daemon. */
export type Contact = "connecting" | "live" | "lost" | "signed-out";

/** What happened, in parts: many events in a short time are one part. */
type Listener = (events: Event[]) => void;

/** How long events are gathered. What a person sees as at once, and 500 events a second are a few parts. */
const GATHER_MS = 100;
const FIRST_RETRY_MS = 250;
const LAST_RETRY_MS = 5_000;
/** The daemon says something at least every 15 seconds. */
const SILENCE_MS = 40_000;

/**
 * The one event stream of the page. It resumes from the last event that it saw, over a restart of the daemon too, so what
 * is built on it misses nothing.
 */
class Live {
  contact = $state<Contact>("connecting");
  /** Since when the daemon is out of reach. */
  lostAt = $state<Date | undefined>();

  #place: string | undefined;
  #listeners = new Set<Listener>();
  #reloads = new Set<() => Promise<unknown>>();
  #gathered: Event[] = [];
  #flush: ReturnType<typeof setTimeout> | undefined;
  #running = false;

  /** Tells `listener` what happens, until what is returned is called. */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Calls `load` whenever everything has to be read anew, and before the first event. */
  onReload(load: () => Promise<unknown>): () => void {
    this.#reloads.add(load);
    return () => this.#reloads.delete(load);
  }

  signedOut(): void {
    this.contact = "signed-out";
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    void this.#run();
  }

  async #run(): Promise<void> {
    let pause = FIRST_RETRY_MS;
    while (this.contact !== "signed-out") {
      try {
        if (this.#place === undefined) await this.#reload();
        await this.#stream(() => (pause = FIRST_RETRY_MS));
      } catch (error) {
        if (error instanceof Refusal && error.status === 410) this.#place = undefined;
        else if (!(error instanceof NoContact) && !(error instanceof Refusal)) console.error(error);
      }
      if ((this.contact as Contact) === "signed-out") break;
      this.lostAt ??= new Date();
      this.contact = "lost";
      await new Promise((wake) => {
        const timer = setTimeout(wake, pause * (0.75 + Math.random() / 2));
        // Somebody who comes back to the page does not wait.
        const now = () => document.visibilityState === "visible" && (clearTimeout(timer), wake(undefined));
        document.addEventListener("visibilitychange", now, { once: true });
        addEventListener("online", now, { once: true });
      });
      pause = Math.min(pause * 2, LAST_RETRY_MS);
    }
    this.#running = false;
  }

  /** Notes the place first: what happens while the lists are read comes again as an event. */
  async #reload(): Promise<void> {
    const { log } = await sure(api.GET("/api/v1/status"));
    await Promise.all([...this.#reloads].map((load) => load()));
    this.#place = `${log.log_id}:${log.seq}`;
  }

  async #stream(alive: () => void): Promise<void> {
    const silence = new AbortController();
    let timer = setTimeout(() => silence.abort(), SILENCE_MS);
    const heard = () => {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS);
    };
    try {
      const headers: Record<string, string> = { "X-CCM-CSRF": key() };
      if (this.#place !== undefined) headers["Last-Event-ID"] = this.#place;
      const request = new Request("/api/v1/events", { headers, signal: silence.signal, cache: "no-store" });
      const response = await ask(request);
      refusedAs(response);
      if (!response.ok || response.body === null) {
        throw new Refusal(response.status, await response.json().catch(() => undefined));
      }
      this.contact = "live";
      this.lostAt = undefined;
      alive();
      const counted = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
        transform(chunk, controller) {
          heard();
          controller.enqueue(chunk);
        },
      });
      const messages = response.body
        .pipeThrough(counted)
        .pipeThrough(new TextDecoderStream())
        .pipeThrough(new EventSourceParserStream());
      const reader = messages.getReader();
      for (let next = await reader.read(); !next.done; next = await reader.read()) {
        const { id, event, data } = next.value;
        if (event === "resync") {
          this.#place = undefined;
          return;
        }
        if (data !== "" && event !== undefined) this.#gather(JSON.parse(data) as Event);
        if (id !== undefined && id !== "") this.#place = id;
      }
    } catch (error) {
      if (error instanceof DOMException || error instanceof TypeError) throw new NoContact();
      throw error;
    } finally {
      clearTimeout(timer);
      silence.abort();
    }
  }

  #gather(event: Event): void {
    this.#gathered.push(event);
    this.#flush ??= setTimeout(() => {
      const events = this.#gathered;
      this.#gathered = [];
      this.#flush = undefined;
      for (const listener of this.#listeners) listener(events);
    }, GATHER_MS);
  }
}

export const live = new Live();
