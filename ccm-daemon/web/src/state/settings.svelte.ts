/** What this browser remembers of how its person likes the page. The daemon knows nothing of it. */
export type Theme = "system" | "light" | "dark";

interface Kept {
  theme: Theme;
  keys: boolean;
  notify: boolean;
}

const NAME = "ccm-settings";
const DEFAULTS: Kept = { theme: "system", keys: true, notify: false };

function kept(): Kept {
  try {
    return { ...DEFAULTS, ...(JSON.parse(localStorage.getItem(NAME) ?? "{}") as Partial<Kept>) };
  } catch {
    return DEFAULTS;
  }
}

class Settings {
  #kept = $state(kept());

  get theme(): Theme {
    return this.#kept.theme;
  }

  set theme(theme: Theme) {
    this.#kept.theme = theme;
    this.#keep();
    this.#paint();
  }

  /** Whether single keys are commands. Who speaks to a computer, or hits keys by chance, can turn that off. */
  get keys(): boolean {
    return this.#kept.keys;
  }

  set keys(on: boolean) {
    this.#kept.keys = on;
    this.#keep();
  }

  get notify(): boolean {
    return this.#kept.notify && "Notification" in window && Notification.permission === "granted";
  }

  /** Asks the browser for its leave, which it gives only at a click. */
  async setNotify(on: boolean): Promise<boolean> {
    const may = on && "Notification" in window && (await Notification.requestPermission()) === "granted";
    this.#kept.notify = may;
    this.#keep();
    return may;
  }

  start(): void {
    this.#paint();
    // Another tab of this browser changed it.
    addEventListener("storage", (event) => {
      if (event.key !== NAME) return;
      this.#kept = kept();
      this.#paint();
    });
  }

  #keep(): void {
    localStorage.setItem(NAME, JSON.stringify(this.#kept));
  }

  #paint(): void {
    const { theme } = this.#kept;
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  }
}

export const settings = new Settings();
