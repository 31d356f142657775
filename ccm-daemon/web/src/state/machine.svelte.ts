import { api, type Schema, sure } from "../api/client";
import { type Event, live } from "./live.svelte";
import { Refresh } from "./refresh";
import { sharedKind } from "./shared";
import { sharing } from "./sharing.svelte";

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
  /** Those of other machines, as they were when their machines were heard of last. */
  others = $state.raw<Project[]>([]);
  agents = $state.raw<Agent[]>([]);
  /** Open ones, the oldest first: what is new comes below, so nothing moves under a hand. */
  asks = $state.raw<Ask[]>([]);
  /** Those of other machines' agents that were answered here, and whose machines have not said to have the answer. */
  sent = $state.raw<Ask[]>([]);

  #status = new Refresh(async () => (this.status = await sure(api.GET("/api/v1/status"))), 1_000);
  #systems = new Refresh(async () => (this.systems = (await sure(api.GET("/api/v1/systems"))).items), 1_000);
  #projects = new Refresh(() => this.#readProjects(), 500);
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
    const [status, systems, agents] = await Promise.all([
      sure(api.GET("/api/v1/status")),
      sure(api.GET("/api/v1/systems")),
      sure(api.GET("/api/v1/agents")),
      this.#readProjects(),
      this.#readAsks(),
    ]);
    this.status = status;
    this.systems = systems.items;
    this.agents = agents.items;
    this.loaded = true;
  }

  /** Agents that wait for a person although they ask nothing: somebody interrupted them. */
  get halted(): Agent[] {
    return this.agents.filter((agent) => agent.state === "waiting" && agent.open_asks.length === 0);
  }

  /** How many things wait for a person. */
  get needs(): number {
    return this.asks.length + this.halted.length + sharing.needs;
  }

  /** The project, whichever machine it is on. */
  project(id: string): Project | undefined {
    const is = (project: Project) => project.id === id;
    return this.projects.find(is) ?? this.others.find(is);
  }

  /** Whether there is another machine that anything can be on. */
  get isAlone(): boolean {
    return this.systems.every((system) => system.this) && this.others.length === 0;
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

  async #readProjects(): Promise<void> {
    const { items } = await sure(api.GET("/api/v1/projects", { params: { query: { machine: "all" } } }));
    this.projects = items.filter((project) => !project.machine);
    this.others = items.filter((project) => project.machine);
  }

  async #readAsks(): Promise<void> {
    const open: Ask[] = [];
    let token: string | undefined;
    do {
      const query = { state: "open" as const, machine: "all" as const, page_size: 200, page_token: token };
      const page = await sure(api.GET("/api/v1/asks", { params: { query } }));
      open.push(...page.items);
      token = page.next_page_token ?? undefined;
    } while (token !== undefined && open.length < 1_000);
    open.reverse();
    this.asks = open.filter((ask) => ask.sent_answer === undefined);
    this.sent = open.filter((ask) => ask.sent_answer !== undefined);
  }

  #take(events: Event[]): void {
    const kinds = new Set(events.map((event) => event.kind.split(".")[0]));
    const shared = new Set(events.map(sharedKind));
    // With sharing what is known of other machines comes and goes as a whole.
    const all = kinds.has("sharing");
    if (all || kinds.has("ask") || shared.has("ask") || shared.has("wish")) this.#asks.want();
    if (all || kinds.has("project") || kinds.has("task") || shared.has("project")) this.#projects.want();
    if (kinds.has("agent") || kinds.has("run") || kinds.has("ask") || kinds.has("task")) this.#agents.want();
    if (kinds.has("daemon") || kinds.has("task") || kinds.has("project") || kinds.has("ask")) this.#status.want();
    // Whatever comes from a machine says that it was heard of.
    if (all || kinds.has("document")) this.#systems.want();
  }
}

export const machine = new Machine();
