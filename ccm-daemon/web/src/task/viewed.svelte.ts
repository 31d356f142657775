import { api, type Schema, sure } from "../api/client";
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
    this.task = new Loaded(() => sure(api.GET("/api/v1/tasks/{id}", path)));
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
    const isOurs = (kinds: string[]) => (event: { task_id?: string | null; kind: string }) =>
      event.task_id === this.id && kinds.some((kind) => event.kind.startsWith(kind));
    this.task.follow(isOurs(["task.", "ask.", "run.created", "run.held", "run.ended"]));
    this.runs.follow(isOurs(["run.created", "run.started", "run.held", "run.observed", "run.ended"]));
    this.inputs.follow(isOurs(["input.", "run.created", "run.started", "run.ended"]));
  }
}
