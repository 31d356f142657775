import type { Event } from "../state/live.svelte";
import { sharedKind } from "../state/shared";

/** Which events are shown. */
export interface Filter {
  project?: string;
  /** A kind, or the first part of some. */
  kind?: string;
  output: boolean;
}

export function filterOf(query: URLSearchParams): Filter {
  return {
    project: query.get("project") ?? undefined,
    kind: query.get("kind") ?? undefined,
    output: query.get("output") === "yes",
  };
}

/** Output, of this machine or another one. */
function isOutput(event: Event): boolean {
  return event.kind === "run.output" || sharedKind(event) === "transcript";
}

/** Output is most of what happens and tells nobody anything here, so it has to be asked for. */
export function passes({ project, kind, output }: Filter, event: Event): boolean {
  if (project !== undefined && event.project_id !== project) return false;
  if (kind !== undefined && event.kind !== kind && !event.kind.startsWith(`${kind}.`)) return false;
  return output || kind === "run.output" || kind === "document.changed" || !isOutput(event);
}
