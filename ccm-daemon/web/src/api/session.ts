/**
 * The page's own secret. It comes once, in the fragment of the address to which a sign-in leads, and is kept where only
 * this origin can read it: the cookie alone opens nothing, because a browser sends it to every port of the host.
 */
const NAME = "ccm-csrf";

export function takeKey(): void {
  const given = new URLSearchParams(location.hash.slice(1)).get("csrf");
  if (given === null) return;
  localStorage.setItem(NAME, given);
  history.replaceState(null, "", location.pathname + location.search);
}

export function key(): string {
  return localStorage.getItem(NAME) ?? "";
}

export function dropKey(): void {
  localStorage.removeItem(NAME);
}

/** Beside what it speaks, a WebSocket can say who asks only in the names of protocols. */
export function socketProtocols(protocol: string): string[] {
  const own = key();
  return own === "" ? [protocol] : [protocol, `ccm.csrf.${own}`];
}
