import { api, sure } from "../api/client";
import { Refresh } from "../state/refresh";
import { Grouping, type Item } from "./transcript";

/** So many entries at a time: what is read and grouped without a pause of the page. */
const PART = 200;

/** The transcript of a run, as far as it was read. It only grows. */
export class Reading {
  items = $state.raw<Item[]>([]);
  /** Whether everything that there was is here. */
  complete = $state(false);
  failure = $state.raw<unknown>();
  /** How many things were read so far. */
  read = $state(0);

  #next = 0;
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

  async #read(): Promise<void> {
    try {
      for (let complete = false; !complete && !this.#ended;) {
        const query = { after: this.#next, limit: PART };
        const asked = api.GET("/api/v1/runs/{id}/transcript", { params: { path: { id: this.run }, query } });
        const part = await sure(asked);
        if (part.entries.length > 0) {
          this.#grouping.add(part.entries);
          this.read = this.#grouping.items.length;
          // The beginning of a long transcript goes by unseen: its end is what is shown.
          if (this.complete) this.items = this.#grouping.items;
        }
        // A part that leads nowhere would be asked for without end.
        complete = part.complete || part.next === this.#next;
        this.#next = part.next;
      }
      this.items = this.#grouping.items;
      this.complete = true;
      this.failure = undefined;
    } catch (error) {
      this.failure = error;
    }
  }
}
