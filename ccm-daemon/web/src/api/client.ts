import createClient from "openapi-fetch";

import type { components, paths } from "../../generated/ccm";
import { key } from "./session";

/** The API's own types, by the names of its description. */
export type Schema = components["schemas"];
export type Problem = Schema["Problem"];

/** What the daemon refused, in its own words. */
export class Refusal extends Error {
  override name = "Refusal";

  constructor(
    readonly status: number,
    readonly problem: Problem | undefined,
  ) {
    super(problem?.detail ?? `the daemon answered with status ${status}`);
  }

  get code(): Problem["code"] | undefined {
    return this.problem?.code;
  }
}

/** The daemon could not be asked at all. */
export class NoContact extends Error {
  override name = "NoContact";

  constructor() {
    super("the daemon can't be reached");
  }
}

/** Asks the daemon as this browser. Every request shows the page's own secret beside the cookie. */
export async function ask(input: Request): Promise<Response> {
  try {
    return await fetch(input);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new NoContact();
  }
}

export const api = createClient<paths>({
  baseUrl: location.origin,
  fetch: ask,
  credentials: "same-origin",
  // Several values of a parameter are one, with commas in between.
  querySerializer: { array: { style: "form", explode: false } },
});

const signedOut = new Set<() => void>();

/** Calls `then` whenever the daemon says that it does not know this browser (any more). */
export function onSignedOut(then: () => void): void {
  signedOut.add(then);
}

export function refusedAs(response: Response): void {
  if (response.status === 401) for (const then of signedOut) then();
}

api.use({
  onRequest({ request }) {
    request.headers.set("X-CCM-CSRF", key());
    // What comes of it names who asked.
    request.headers.set("X-CCM-Client", "web");
  },
  onResponse({ response }) {
    refusedAs(response);
  },
});

type Answered<T> = { data?: T; error?: unknown; response: Response };

/** What was asked for, or the refusal as an exception. */
export async function sure<T>(asked: Promise<Answered<T>>): Promise<T> {
  const { data, error, response } = await asked;
  if (!response.ok) throw new Refusal(response.status, error as Problem | undefined);
  return data as T;
}

/** One sentence for people about anything that was thrown. */
export function words(error: unknown): string {
  if (error instanceof NoContact) return "The daemon can't be reached. This page goes on trying.";
  if (error instanceof Error) return sentence(error.message);
  return "Something went wrong.";
}

function sentence(text: string): string {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}
