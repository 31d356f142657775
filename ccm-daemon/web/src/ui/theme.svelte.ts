import { MediaQuery } from "svelte/reactivity";

import { settings } from "../state/settings.svelte";

const dark = new MediaQuery("prefers-color-scheme: dark");

/** Whether it is dark now; in an effect, whatever draws itself in colours runs again when that changes. */
export function isDark(): boolean {
  return settings.theme === "system" ? dark.current : settings.theme === "dark";
}
