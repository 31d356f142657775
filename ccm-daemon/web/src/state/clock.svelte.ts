import { createSubscriber } from "svelte/reactivity";

/** The time, for what is shown relative to it. It ticks only while something shows it. */
class Clock {
  #now = Date.now();
  #subscribe = createSubscriber((changed) => {
    this.#now = Date.now();
    const timer = setInterval(() => {
      this.#now = Date.now();
      changed();
    }, 1_000);
    return () => clearInterval(timer);
  });

  get now(): number {
    this.#subscribe();
    return this.#now;
  }
}

export const clock = new Clock();
