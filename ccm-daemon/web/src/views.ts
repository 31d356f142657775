import type { Component } from "svelte";

/** A view gets what is in its address beside its name. */
export type View = Component<{ id: string }>;
type Load = () => Promise<{ default: View }>;

/** A view that needs nothing of its address. */
function plain(load: () => Promise<{ default: Component }>): Load {
  return load as unknown as Load;
}

/** Each view is loaded when it is opened first, or when there is nothing else to do. `ID` stands for any last part. */
const VIEWS: [pattern: string, title: string, load: Load][] = [
  ["/", "Board", plain(() => import("./pages/Board.svelte"))],
  ["/asks", "Questions", plain(() => import("./pages/Asks.svelte"))],
  ["/tasks", "Tasks", plain(() => import("./pages/Tasks.svelte"))],
  ["/tasks/new", "New task", plain(() => import("./pages/NewTask.svelte"))],
  ["/tasks/ID", "Task", () => import("./pages/Task.svelte")],
  ["/projects/ID", "Project", () => import("./pages/Project.svelte")],
  ["/agents/ID", "Terminal", () => import("./pages/Terminal.svelte")],
  ["/changes", "Changes", plain(() => import("./pages/Changes.svelte"))],
  ["/events", "Events", plain(() => import("./pages/Events.svelte"))],
  ["/plots", "Plots", plain(() => import("./pages/Plots.svelte"))],
  ["/sync", "Sync", plain(() => import("./pages/Sync.svelte"))],
  ["/settings", "Settings", plain(() => import("./pages/Settings.svelte"))],
];

export interface Found {
  title: string;
  id: string;
  load: Load;
}

export function find(path: string): Found | undefined {
  const clean = path.length > 1 ? path.replace(/\/$/, "") : path;
  for (const [pattern, title, load] of VIEWS) {
    if (pattern === clean) return { title, id: "", load };
  }
  const cut = clean.lastIndexOf("/");
  const parent = `${clean.slice(0, cut)}/ID`;
  const id = clean.slice(cut + 1);
  const view = VIEWS.find(([pattern]) => pattern === parent);
  return view && { title: view[1], id, load: view[2] };
}

/** Loads what is not there yet, one after the other, so that every view opens at once and also while the daemon is away. */
export async function loadRest(): Promise<void> {
  // What can't be had now is asked for again by whoever opens it.
  for (const [, , load] of VIEWS) await load().catch(() => undefined);
}
