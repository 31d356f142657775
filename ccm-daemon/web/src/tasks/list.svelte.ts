import { api, type Schema, sure } from "../api/client";
import { type Event, live } from "../state/live.svelte";
import { Refresh } from "../state/refresh";
import { sharedKind } from "../state/shared";
import { CHUNK, Chunks, chunksOf } from "./chunks";
import { asked, type Filter, growsAtTop } from "./filter";

export type Task = Schema["Task"];

/** How much of a text a row shows at most. */
const TEXT_LIMIT = 200;
const PAUSE_MS = 500;
/** Documents of other machines that change what is in a list. */
const SHARED = ["task", "report", "ask"];
/** Under a flood of new tasks their number is never known for long. */
const TRIES = 3;

/**
 * A list of tasks of any length. What is looked at is read, and read again when something happened; the rest is only
 * counted. While somebody looks at a later part, new tasks wait above it until they are asked for.
 */
export class TaskList {
  /** How many rows there are; nothing until that is known. */
  total = $state<number | undefined>();
  /** How many came since and are not shown yet. */
  fresh = $state(0);
  failure = $state.raw<unknown>();

  #version = $state(0);
  #chunks = new Chunks<Task>();
  #looked: number[] = [0];
  #atTop = true;
  #stale = true;
  #refresh = new Refresh(() => this.#read(), PAUSE_MS);
  #missing = new Refresh(() => this.#fill(), 30);

  constructor(readonly filter: Filter) {}

  /** The task in a row, if it is known. */
  get(row: number): Task | undefined {
    void this.#version;
    return this.#chunks.get(row);
  }

  /** These rows are looked at now. */
  look(from: number, to: number, atTop: boolean): void {
    this.#looked = chunksOf(from, Math.max(to, from + 1));
    this.#atTop = atTop;
    if (atTop && this.fresh > 0) this.showFresh();
    else if (this.#looked.some((chunk) => !this.#chunks.has(chunk))) this.#missing.want();
  }

  /** Lets in what came since. */
  showFresh(): void {
    this.fresh = 0;
    this.again();
  }

  again(): void {
    this.#stale = true;
    this.#refresh.want();
  }

  take(events: Event[]): void {
    const { project } = this.filter;
    const concerns = (event: Event) =>
      (event.kind.startsWith("task.") || event.kind.startsWith("ask.") || SHARED.includes(sharedKind(event) ?? "")) &&
      (project === "" || event.project_id == null || event.project_id === project);
    if (events.some(concerns)) this.again();
  }

  /** Reads now, and follows the events until what is returned is called. */
  follow(): () => void {
    this.again();
    const ends = [live.listen((events) => this.take(events)), live.onReload(async () => this.again())];
    return () => ends.forEach((end) => end());
  }

  async #read(): Promise<void> {
    try {
      this.#stale = false;
      let looked: number[] = [];
      let parts: Schema["Page_Task"][] = [];
      // Rows that were read before it was known how many came above them are not where they belong.
      for (let tries = 0; tries < TRIES; tries += 1) {
        looked = this.#looked;
        parts = await Promise.all(looked.map((chunk, at) => this.#chunk(chunk, at === 0)));
        if (!this.#count(parts[0]?.total ?? 0)) break;
      }
      this.#chunks.keepOnly(looked);
      looked.forEach((chunk, at) => this.#chunks.put(chunk, parts[at]?.items ?? []));
      this.#version += 1;
      this.failure = undefined;
      this.#missing.want();
    } catch (error) {
      this.failure = error;
    }
  }

  /** Takes in how many there are now, and says whether rows moved by it that are to stay where they are. */
  #count(total: number): boolean {
    const grown = total - this.fresh - (this.total ?? total);
    if (growsAtTop(this.filter) && !this.#atTop && grown > 0) {
      this.fresh += grown;
      return true;
    }
    if (this.fresh === 0 || grown < 0) {
      this.fresh = 0;
      this.total = total;
    }
    return false;
  }

  async #fill(): Promise<void> {
    if (this.total === undefined || this.#stale) return;
    const missing = this.#looked.filter((chunk) => !this.#chunks.has(chunk) && chunk * CHUNK < (this.total ?? 0));
    if (missing.length === 0) return;
    try {
      for (const chunk of missing) {
        if (!this.#looked.includes(chunk)) continue;
        this.#chunks.put(chunk, (await this.#chunk(chunk, false)).items);
        this.#version += 1;
      }
    } catch (error) {
      this.failure = error;
    }
  }

  #chunk(chunk: number, count: boolean): Promise<Schema["Page_Task"]> {
    const skip = chunk * CHUNK + this.fresh;
    const query = { ...asked(this.filter), skip, page_size: CHUNK, count, text_limit: TEXT_LIMIT };
    return sure(api.GET("/api/v1/tasks", { params: { query } }));
  }
}
