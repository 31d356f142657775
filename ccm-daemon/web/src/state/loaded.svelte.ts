import { untrack } from "svelte";

import { NoContact } from "../api/client";
import { type Event, live } from "./live.svelte";
import { Refresh } from "./refresh";

/** Something of the daemon's that a view shows, read again whenever it may have changed. */
export class Loaded<T> {
  value = $state.raw<T | undefined>();
  /** Why the last reading failed. What was read before is still there. */
  failure = $state.raw<unknown>();

  readonly #refresh: Refresh;

  constructor(read: () => Promise<T>, pauseMs?: number) {
    this.#refresh = new Refresh(async () => {
      try {
        this.value = await read();
        this.failure = undefined;
      } catch (error) {
        this.failure = error;
      }
    }, pauseMs);
  }

  want(): void {
    untrack(() => this.#refresh.want());
  }

  /**
   * Reads now and, as long as the component lives that calls this, after every event that concerns it, after a lost place
   * in the log, and when the daemon is back.
   */
  follow(concerns: (event: Event) => boolean): void {
    $effect(() => {
      this.want();
      const ends = [
        live.listen((events) => events.some(concerns) && this.want()),
        live.onReload(async () => this.want()),
      ];
      return () => ends.forEach((end) => end());
    });
    // A reading that failed while the daemon was away or coming up may have been told of either way.
    $effect(() => {
      if (live.contact === "live") untrack(() => this.failure !== undefined && this.want());
    });
    $effect(() => {
      if (live.contact === "live" && this.failure instanceof NoContact) this.want();
    });
  }
}
