import { api, type Schema, sure } from "../api/client";
import { Refresh } from "../state/refresh";
import { Grouping, type Item } from "./transcript";

type Entry = Schema["Entry"];

/** So many entries at a time: what is read and grouped without a pause of the page. */
const PART = 200;
const THE_END = Number.MAX_SAFE_INTEGER;

/** The transcript of a run from its end: what comes is added, and what came earlier is read when somebody wants it. */
export class Reading {
  items = $state.raw<Item[]>([]);
  /** Whether everything that there was at the end is here. */
  complete = $state(false);
  /** How many bytes of the run's output are before the first item. */
  begin = $state(0);
  failure = $state.raw<unknown>();

  #entries: Entry[] = [];
  #next: number | undefined;
  #ended = false;
  #grouping = new Grouping();
  #refresh = new Refresh(() => this.#read());

  constructor(private readonly run: string) {}

  /** Reads what is new. */
  want(): void {
    this.#refresh.want();
  }

  end(): void {
    this.#ended = true;
  }

  /** Reads what came just before, and says how many items that made. */
  async back(): Promise<number> {
    const had = this.items.length;
    try {
      // A part may be nothing that is shown.
      while (this.begin > 0 && this.items.length === had) {
        const part = await this.#part({ before: this.begin });
        if (part.begin >= this.begin) break;
        this.begin = part.begin;
        this.#entries = [...part.entries, ...this.#entries];
        this.#grouping = Grouping.before(this.#grouping, this.#entries);
        this.items = this.#grouping.items;
      }
      this.failure = undefined;
    } catch (error) {
      this.failure = error;
    }
    return this.items.length - had;
  }

  async #read(): Promise<void> {
    try {
      for (let complete = false; !complete && !this.#ended;) {
        const first = this.#next === undefined;
        const part = await this.#part(this.#next === undefined ? { before: THE_END } : { after: this.#next });
        if (first) this.begin = part.begin;
        if (part.entries.length > 0) {
          this.#entries.push(...part.entries);
          this.#grouping.add(part.entries);
          this.items = this.#grouping.items;
        }
        // A part that leads nowhere would be asked for without end.
        complete = part.complete || part.next === this.#next;
        this.#next = part.next;
      }
      this.complete = true;
      this.failure = undefined;
    } catch (error) {
      this.failure = error;
    }
  }

  #part(where: { before: number } | { after: number }): Promise<Schema["Transcript"]> {
    const params = { path: { id: this.run }, query: { ...where, limit: PART } };
    return sure(api.GET("/api/v1/runs/{id}/transcript", { params }));
  }
}
