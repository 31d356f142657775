import type { Schema } from "../api/client";

/** Where a task stands for people: one that runs may wait for them. */
export function standing({
  state,
  reason,
  open_asks,
}: Pick<Schema["Task"], "state" | "reason" | "open_asks">): Schema["TaskStateName"] | "waiting" {
  const waits = open_asks.length > 0 || reason === "interrupted";
  return state === "running" && waits ? "waiting" : state;
}
