import { api, type Schema, sure } from "../api/client";
import type { Event } from "../state/live.svelte";
import { Loaded } from "../state/loaded.svelte";

export type Task = Schema["Task"];
export type Run = Schema["Run"];
export type Input = Schema["Input"];

/** A task as its page shows it, with its runs and what the open run was given. */
export class Viewed {
  readonly task: Loaded<Task>;
  readonly runs: Loaded<Run[]>;
  readonly inputs: Loaded<Input[]>;

  constructor(readonly id: string) {
    const path = { params: { path: { id } } };
    this.task = new Loaded(() => sure(api.GET("/api/v1/tasks/{id}", path)), 500);
    const query = { task_id: id, page_size: 200 };
    this.runs = new Loaded(async () => (await sure(api.GET("/api/v1/runs", { params: { query } }))).items, 1_000);
    this.inputs = new Loaded(async () => {
      const run = (this.task.value ?? (await sure(api.GET("/api/v1/tasks/{id}", path)))).run_id;
      if (run == null) return [];
      return (await sure(api.GET("/api/v1/runs/{id}/inputs", { params: { path: { id: run } } }))).items;
    });
  }

  /** Reads all of it while the calling component lives. */
  follow(): void {
    const isOurs = (event: Event, kinds: string[]) =>
      event.task_id === this.id && kinds.some((kind) => event.kind.startsWith(kind));
    // What its agent does says whether it waits for a person, and is an event of the agent.
    const isOfAgent = (event: Event) =>
      event.kind.startsWith("agent.") && event.project_id === this.task.value?.project_id;
    this.task.follow((event) => isOurs(event, ["task.", "ask.", "input.", "run."]) || isOfAgent(event));
    this.runs.follow((event) => isOurs(event, ["run.created", "run.started", "run.held", "run.observed", "run.ended"]));
    this.inputs.follow((event) => isOurs(event, ["input.", "run.created", "run.started", "run.ended"]));
  }
}
