/**
 * The page's address. Every view has one of its own, with its filters in the query, so it can be kept, shared and gone back
 * to. The daemon answers all of them with the same file.
 */
class Route {
  path = $state(location.pathname);
  query = $state.raw(new URLSearchParams(location.search));
  /** How often a link or an arrow of the browser led somewhere: what a view forgets its place by. */
  visits = $state(0);

  start(): void {
    addEventListener("popstate", () => this.#read());
    document.addEventListener("click", (event) => {
      const link = event.target instanceof Element ? event.target.closest("a") : null;
      const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
      if (!link || !plain || event.defaultPrevented || link.target !== "" || link.hasAttribute("download")) return;
      const to = new URL(link.href);
      if (to.origin !== location.origin || !isOwn(to.pathname)) return;
      // To another place of the same view, which the browser finds itself.
      if (to.hash !== "" && to.pathname + to.search === location.pathname + location.search) return;
      event.preventDefault();
      this.go(to.pathname + to.search);
    });
  }

  go(to: string): void {
    if (to === location.pathname + location.search) return;
    history.pushState(null, "", to);
    this.#read();
  }

  /** Changes some filters and keeps the rest; an empty one goes. The view stays, so it is no step of its own to go back. */
  filter(changes: Record<string, string | undefined>): void {
    const query = new URLSearchParams(location.search);
    for (const [name, value] of Object.entries(changes)) {
      if (value === undefined || value === "") query.delete(name);
      else query.set(name, value);
    }
    const search = query.size === 0 ? "" : `?${query}`;
    history.replaceState(null, "", location.pathname + search);
    this.query = query;
  }

  #read(): void {
    const moved = this.path !== location.pathname;
    this.path = location.pathname;
    this.query = new URLSearchParams(location.search);
    if (moved) this.visits += 1;
  }
}

const VIEWS = ["agents", "asks", "changes", "events", "plots", "projects", "settings", "sync", "tasks"];

/** Whether an address is a view, and not another page of the daemon such as the reference of its API. */
export function isOwn(path: string): boolean {
  return path === "/" || VIEWS.includes(path.split("/")[1] ?? "");
}

export const route = new Route();
