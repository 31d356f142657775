import type { Event } from "./live.svelte";

/** The kind of the document that came from another machine, if that is what the event tells. */
export function sharedKind(event: Pick<Event, "kind" | "data">): string | undefined {
  if (event.kind !== "document.changed") return undefined;
  const { kind } = event.data as { kind?: unknown };
  return typeof kind === "string" ? kind : undefined;
}
