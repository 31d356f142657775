import { api, type Schema, sure } from "../api/client";
import type { Event } from "../state/live.svelte";
import { Loaded } from "../state/loaded.svelte";
import { sharedKind } from "../state/shared";
import { isElsewhere } from "./where";

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
      const task = this.task.value ?? (await sure(api.GET("/api/v1/tasks/{id}", path)));
      const run = task.run_id;
      // What was told to the agent of another machine is known there alone.
      if (run == null || isElsewhere(task)) return [];
      return (await sure(api.GET("/api/v1/runs/{id}/inputs", { params: { path: { id: run } } }))).items;
    });
  }

  /** Reads all of it while the calling component lives. */
  follow(): void {
    const isOurs = (event: Event, kinds: string[], documents: string[] = []) =>
      event.task_id === this.id &&
      (kinds.some((kind) => event.kind.startsWith(kind)) || documents.includes(sharedKind(event) ?? ""));
    // What its agent does says whether it waits for a person, and is an event of the agent.
    const isOfAgent = (event: Event) =>
      event.kind.startsWith("agent.") && event.project_id === this.task.value?.project_id;
    const ofTask = ["task", "report", "ask", "wish", "conflict"];
    const isOfMachine = (event: Event) =>
      event.kind === "sharing.changed" || (sharedKind(event) === "system" && this.task.value?.sharing !== undefined);
    this.task.follow(
      (event) => isOurs(event, ["task.", "ask.", "input.", "run."], ofTask) || isOfAgent(event) || isOfMachine(event),
    );
    const ofRuns = ["run.created", "run.started", "run.held", "run.observed", "run.ended"];
    this.runs.follow((event) => isOurs(event, ofRuns, ["run"]));
    this.inputs.follow((event) => isOurs(event, ["input.", "run.created", "run.started", "run.ended"]));
  }
}
