import { api, type Schema, sure } from "../api/client";
import { type Event, live } from "./live.svelte";
import { Refresh } from "./refresh";
import { sharedKind } from "./shared";

export type Conflict = Schema["Conflict"];
export type SyncState = Schema["SyncState"];
type Task = Schema["Task"];

/** What waits and when the service was reached change without an event. */
const SAMPLE_MS = 15_000;

/** What every page shows something of: how the queue is shared, and what somebody has to decide because of that. */
class Sharing {
  state = $state.raw<SyncState | undefined>();
  /** Why it can't be told how it is shared. */
  failure = $state.raw<unknown>();
  /** Edits of which somebody has to say which one counts, the newest first. */
  conflicts = $state.raw<Conflict[]>([]);
  /** Tasks of other machines that wait for somebody's leave to run here, the oldest first. */
  unapproved = $state.raw<Task[]>([]);

  #state = new Refresh(() => this.#readState(), 1_000);
  #conflicts = new Refresh(() => this.#readConflicts(), 500);
  #unapproved = new Refresh(() => this.#readUnapproved(), 500);

  start(): void {
    live.onReload(() => this.load());
    live.listen((events) => this.#take(events));
    setInterval(() => {
      const on = this.state?.enabled === true;
      if (on && document.visibilityState === "visible" && live.contact === "live") this.#state.want();
    }, SAMPLE_MS);
  }

  async load(): Promise<void> {
    // What is wrong with sharing must not keep the rest of the page from being there.
    await Promise.all([
      this.#readState(),
      this.#readConflicts().catch(() => undefined),
      this.#readUnapproved().catch(() => undefined),
    ]);
  }

  /** Looks again at how it is. */
  look(): void {
    this.#state.want();
  }

  /** Looks again at what somebody has to decide. */
  lookAtDecisions(): void {
    this.#conflicts.want();
    this.#unapproved.want();
    this.#state.want();
  }

  /** How many things wait for a person's decision. */
  get needs(): number {
    return this.conflicts.length + this.unapproved.length;
  }

  /** Whether other machines are heard of now, as far as this one knows. */
  get isLive(): boolean {
    return this.state?.condition === "ready";
  }

  async #readState(): Promise<void> {
    try {
      this.state = await sure(api.GET("/api/v1/sync"));
      this.failure = undefined;
    } catch (error) {
      this.failure = error;
    }
  }

  async #readConflicts(): Promise<void> {
    const query = { state: "open" as const, page_size: 200 };
    this.conflicts = (await sure(api.GET("/api/v1/sync/conflicts", { params: { query } }))).items;
  }

  async #readUnapproved(): Promise<void> {
    const query = { unapproved: true, machine: "local" as const, page_size: 200, text_limit: 10_000 };
    this.unapproved = (await sure(api.GET("/api/v1/tasks", { params: { query } }))).items.reverse();
  }

  #take(events: Event[]): void {
    const kinds = new Set(events.map((event) => event.kind.split(".")[0]));
    const shared = new Set(events.map(sharedKind));
    const all = kinds.has("sharing");
    if (all || shared.has("conflict")) this.#conflicts.want();
    if (all || (this.state?.enabled && kinds.has("task"))) this.#unapproved.want();
    if (all || kinds.has("daemon") || kinds.has("document")) this.#state.want();
  }
}

export const sharing = new Sharing();
