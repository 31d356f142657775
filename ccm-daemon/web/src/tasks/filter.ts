import type { paths } from "../../generated/ccm";
import type { Schema } from "../api/client";

export type Query = NonNullable<paths["/api/v1/tasks"]["get"]["parameters"]["query"]>;
type State = Schema["TaskStateName"];

export const STATES: State[] = ["queued", "running", "succeeded", "failed", "cancelled"];

/** Which tasks are listed, as the address says it. */
export interface Filter {
  project: string;
  state: string;
  tag: string;
  q: string;
  by: string;
  /** Whose tasks: `local`, `mine`, `all`, a machine's id, or nothing for what is usual. */
  machine: string;
  order: "newest" | "queue";
}

export function read(query: URLSearchParams): Filter {
  const get = (name: string) => query.get(name)?.trim() ?? "";
  const project = get("project");
  return {
    project,
    state: get("state")
      .split(",")
      .filter((state) => STATES.includes(state as State))
      .join(","),
    tag: get("tag"),
    q: get("q").slice(0, 200),
    by: get("by"),
    machine: /^(local|mine|all|[0-9a-f-]{36})$/.test(get("machine")) ? get("machine") : "",
    // A queue is one of a project.
    order: get("order") === "queue" && project !== "" ? "queue" : "newest",
  };
}

/**
 * The same for the daemon. A queue is one of this machine alone. Of a project everything is meant, wherever it runs; else what
 * runs here or was created here.
 */
export function asked({ project, state, tag, q, by, machine, order }: Filter): Query {
  const whose = machine !== "" ? machine : project !== "" ? "all" : "mine";
  return {
    ...(order !== "queue" && { machine: whose }),
    ...(project !== "" && { project_id: project }),
    ...(order === "queue" ? { order } : state !== "" && { state: state.split(",") as State[] }),
    ...(tag !== "" && { tag }),
    ...(q !== "" && { q }),
    ...(by !== "" && { created_by: by }),
  };
}

export function isFiltered({ project, state, tag, q, by, machine }: Filter): boolean {
  return [project, state, tag, q, by, machine].some((part) => part !== "");
}

/** Whether what is created comes first in the list, and nothing in it goes or comes otherwise. */
export function growsAtTop({ state, order }: Filter): boolean {
  return state === "" && order === "newest";
}
