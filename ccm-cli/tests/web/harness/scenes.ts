// Machines in the middle of their work.

import type { Machine, Project } from "./machine.ts";
import { until } from "./machine.ts";
import { bash, choices, say, script, stall, tool } from "./scripts.ts";
import type { Supabase } from "./supabase.ts";

const README = "# Shop\n\nSells things.\n\nRun it with `make`.\n";

export interface Busy {
  working: Project;
  waiting: Project;
  failing: Project;
  /** The task that is being worked on, that waits for an answer, and that failed. */
  tasks: { working: string; waiting: string; failed: string; done: string };
}

/** Three projects: one works, one waits for a person, one failed. The gate `go` lets the first go on. */
export async function busy(machine: Machine): Promise<Busy> {
  const working = await machine.project("shop", { "agent.permission_mode": "acceptEdits" });
  await working.write("README.md", README);
  await working.write(".ccm/prompts/review.md", "Review {{file}}\n\nList {{what=mistakes}}, worst first.\n\n{{input=}}\n");
  const done = await working.task(
    script(
      "Say in the readme what the shop sells.",
      tool("Read", { file_path: `${working.folder}/README.md` }),
      tool("Edit", {
        file_path: `${working.folder}/README.md`,
        old_string: "Sells things.",
        new_string: "Sells hammers, saws and glue.\n\nEverything is delivered within a day.",
      }),
      say("The readme says what the shop sells:\\n\\n- hammers\\n- saws\\n- glue\\n\\nNothing else was changed."),
    ),
    { title: "Say what the shop sells" },
  );
  await state(machine, done, "succeeded");
  const doing = await working.task(
    script(
      "Add a list of prices.",
      tool("Write", { file_path: `${working.folder}/prices.md`, content: "# Prices\n\n| what | price |\n| --- | --- |\n| hammer | 12 |\n| saw | 20 |\n" }),
      tool("Read", { file_path: `${working.folder}/prices.md` }),
      stall("go", "The list is there. Next I look at what the page of prices needs to be found by people who search for it."),
    ),
    { title: "Add a list of prices" },
  );
  await working.task(say("later"), { title: "Check all links", priority: 5 });
  await working.task(say("later"), { title: "Make the pictures smaller" });

  const waiting = await machine.project("website");
  const asked = await waiting.task(
    script("Publish the site.", bash("rsync --archive --delete public/ www@example.org:/srv/www/"), say("It is out.")),
    { title: "Publish the site" },
  );

  const failing = await machine.project("engine");
  const failed = await failing.task(
    script("Find out why the tests are slow.", "@fail 400 : the conversation is longer than the model can read"),
    { title: "Find out why the tests are slow" },
  );
  await state(machine, failed, "failed");
  await failing.task(
    script(choices({ question: "Which of the two parsers is to stay?", options: ["the old one", "the new one"] }), say("Good.")),
    { title: "Remove one of the two parsers" },
  );
  await asks(machine, 2);
  await until("the agent works", async () => (await transcript(machine, doing)).includes("prices.md"));
  return { working, waiting, failing, tasks: { working: doing, waiting: asked, failed, done } };
}

/** Waits until a task is in a state. */
export async function state(machine: Machine, task: string, wanted: string): Promise<void> {
  const api = await machine.api();
  await until(`the task is ${wanted}`, async () => {
    const { data } = await api.GET("/api/v1/tasks/{id}", { params: { path: { id: task } } });
    return data?.state === wanted;
  });
}

/** Waits until so many questions are open. */
export async function asks(machine: Machine, count: number): Promise<void> {
  const api = await machine.api();
  await until(`${count} questions are open`, async () => {
    const query = { state: "open", machine: "all" } as const;
    const { data } = await api.GET("/api/v1/asks", { params: { query } });
    return data?.items.length === count;
  });
}

async function transcript(machine: Machine, task: string): Promise<string> {
  return machine.ccm(["task", "logs", "--json", task]).catch(() => "");
}

// --- several machines ---

/** Waits until a machine has heard of a project of another one. */
export async function knows(machine: Machine, project: Project): Promise<void> {
  const api = await machine.api();
  await until(`${project.name} is known`, async () => {
    const { data } = await api.GET("/api/v1/projects", { params: { query: { machine: "all" } } });
    return data?.items.some(({ id }) => id === project.id);
  });
}

/** Lets a task of another machine run, once it waits for that. */
export async function approve(machine: Machine, id: string): Promise<void> {
  const api = await machine.api();
  await until("the task waits for leave", async () => {
    const { data } = await api.GET("/api/v1/tasks/{id}", { params: { path: { id } } });
    return data?.reason === "remote_unapproved";
  });
  const { error } = await api.POST("/api/v1/tasks/{id}/approve", { params: { path: { id } } });
  if (error !== undefined) throw new Error(JSON.stringify(error));
}

interface Edit {
  text?: string;
  title?: string;
  priority?: number;
}

/** A task of the other machine that both changed, `first` and the other one, while they could not reach each other. */
export async function conflict(
  first: Machine,
  other: Machine,
  place: Supabase,
  project: Project,
  [mine, theirs]: readonly [Edit, Edit],
): Promise<string> {
  await project.pause();
  await knows(first, project);
  const id = await project.task("Sort the shelves.\nThen dust them.", { title: "Sort the shelves" });
  await until("the task is known", async () => {
    const { data } = await (await first.api()).GET("/api/v1/tasks/{id}", { params: { path: { id } } });
    return data !== undefined;
  });
  await place.cut();
  await edit(first, id, mine);
  await edit(other, id, theirs);
  await place.mend();
  await exchange(other);
  await exchange(first);
  return id;
}

async function edit(machine: Machine, id: string, body: Edit): Promise<void> {
  const params = { path: { id }, header: { "If-Match": "*" } };
  const { error } = await (await machine.api()).PATCH("/api/v1/tasks/{id}", { params, body });
  if (error !== undefined) throw new Error(JSON.stringify(error));
}

async function exchange(machine: Machine): Promise<void> {
  const { error } = await (await machine.api()).POST("/api/v1/sync/now");
  if (error !== undefined) throw new Error(JSON.stringify(error));
}
