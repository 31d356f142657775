// A machine on which a lot happens.

import type { Api, Project } from "./machine.ts";

export const EVENTS_A_SECOND = 500;

/** Makes events by real requests, evenly, until the time is over. How many it made. */
export async function makeEvents(api: Api, project: Project, seconds: number): Promise<number> {
  const edited = await api.GET("/api/v1/tasks", { params: { query: { page_size: 50 } } });
  const tasks = edited.data?.items ?? [];
  const begun = performance.now();
  const ended = begun + seconds * 1000;
  let [made, turn] = [0, 0];
  const edit = async (): Promise<void> => {
    const task = tasks[(turn += 1) % tasks.length];
    if (task === undefined) throw new Error("there is no task to edit");
    const params = { path: { id: task.id }, header: { "If-Match": "*" } };
    const { error } = await api.PATCH("/api/v1/tasks/{id}", { params, body: { title: `Edit ${turn}` } });
    if (error !== undefined) throw new Error(JSON.stringify(error));
    made += 1;
  };
  const create = async (): Promise<void> => {
    await project.tasks(5, (number) => ({ text: "more", title: `More ${turn}.${number}` }));
    made += 5;
  };
  for (;;) {
    const now = performance.now();
    if (now >= ended) return made;
    const due = ((now - begun) / 1000) * EVENTS_A_SECOND;
    // Whoever is late has more to do at once.
    if (made < due) await Promise.all([edit(), edit(), edit(), edit(), edit(), create()]);
    else await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
