/** Who made a request, for people. */
export function principal(said: string): string {
  const [kind, rest = ""] = cut(said, ":");
  if (kind === "token") return "the machine's token";
  if (kind === "nobody") return "nobody who may";
  if (kind === "browser") return "a browser";
  if (kind === "run") return "an agent";
  if (kind === "machine") return `machine ${/host=([^,]+)/.exec(rest)?.[1] ?? "unknown"}`;
  if (kind === "socket") return `user ${/uid=(\d+)/.exec(rest)?.[1] ?? "unknown"} on this machine`;
  return said;
}

function cut(text: string, at: string): [string, string?] {
  const place = text.indexOf(at);
  return place === -1 ? [text] : [text.slice(0, place), text.slice(place + 1)];
}

export function outcome(status: number): string {
  if (status < 400) return "done";
  if (status === 401 || status === 403) return "not allowed";
  return status < 500 ? `refused (${status})` : `failed (${status})`;
}

/** The view of what a path of the API is about, where there is one. */
export function address(path: string): string | undefined {
  return /^\/api\/v1(\/(?:tasks|projects|agents)\/[0-9a-f-]{36})(?:\/|$)/.exec(path)?.[1];
}
