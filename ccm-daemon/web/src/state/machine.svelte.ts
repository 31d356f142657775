import { api, type Schema, sure } from "../api/client";
import { type Event, live } from "./live.svelte";
import { Refresh } from "./refresh";

export type Agent = Schema["Agent"];
export type Ask = Schema["Ask"];
export type Project = Schema["Project"];
export type Status = Schema["Status"];
export type System = Schema["System"];

/** Memory and processor time change without an event. */
const SAMPLE_MS = 5_000;

/** What every page shows something of: this machine, its projects, their agents, and their open questions. */
class Machine {
  loaded = $state(false);
  status = $state.raw<Status | undefined>();
  systems = $state.raw<System[]>([]);
  projects = $state.raw<Project[]>([]);
  agents = $state.raw<Agent[]>([]);
  /** Open ones, the oldest first: what is new comes below, so nothing moves under a hand. */
  asks = $state.raw<Ask[]>([]);

  #status = new Refresh(async () => (this.status = await sure(api.GET("/api/v1/status"))), 1_000);
  #projects = new Refresh(async () => (this.projects = (await sure(api.GET("/api/v1/projects"))).items), 500);
  #agents = new Refresh(async () => (this.agents = (await sure(api.GET("/api/v1/agents"))).items), 500);
  #asks = new Refresh(() => this.#readAsks());

  start(): void {
    live.onReload(() => this.load());
    live.listen((events) => this.#take(events));
    setInterval(() => {
      if (document.visibilityState === "visible" && live.contact === "live") this.#agents.want();
    }, SAMPLE_MS);
  }

  async load(): Promise<void> {
    const [status, systems, projects, agents] = await Promise.all([
      sure(api.GET("/api/v1/status")),
      sure(api.GET("/api/v1/systems")),
      sure(api.GET("/api/v1/projects")),
      sure(api.GET("/api/v1/agents")),
      this.#readAsks(),
    ]);
    this.status = status;
    this.systems = systems.items;
    this.projects = projects.items;
    this.agents = agents.items;
    this.loaded = true;
  }

  /** Agents that wait for a person although they ask nothing: somebody interrupted them. */
  get halted(): Agent[] {
    return this.agents.filter((agent) => agent.state === "waiting" && agent.open_asks.length === 0);
  }

  /** How many things wait for a person. */
  get needs(): number {
    return this.asks.length + this.halted.length;
  }

  project(id: string): Project | undefined {
    return this.projects.find((project) => project.id === id);
  }

  agent(id: string): Agent | undefined {
    return this.agents.find((agent) => agent.id === id);
  }

  projectName(id: string): string {
    return this.project(id)?.name ?? (this.loaded ? "a removed project" : "…");
  }

  /** Looks at the open questions again, as after an answer that was too late. */
  lookAtAsks(): void {
    this.#asks.want();
  }

  async #readAsks(): Promise<void> {
    const open: Ask[] = [];
    let token: string | undefined;
    do {
      const query = { state: "open" as const, page_size: 200, page_token: token };
      const page = await sure(api.GET("/api/v1/asks", { params: { query } }));
      open.push(...page.items);
      token = page.next_page_token ?? undefined;
    } while (token !== undefined && open.length < 1_000);
    this.asks = open.reverse();
  }

  #take(events: Event[]): void {
    const kinds = new Set(events.map((event) => event.kind.split(".")[0]));
    if (kinds.has("ask")) this.#asks.want();
    if (kinds.has("project") || kinds.has("task")) this.#projects.want();
    if (kinds.has("agent") || kinds.has("run") || kinds.has("ask") || kinds.has("task")) this.#agents.want();
    if (kinds.has("daemon") || kinds.has("task") || kinds.has("project") || kinds.has("ask")) this.#status.want();
  }
}

export const machine = new Machine();
