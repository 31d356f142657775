import type { Schema } from "../api/client";

type Template = Schema["Template"];
type Values = Record<string, string>;

/** The places of a template that need a value and have none. */
export function missing({ variables }: Template, values: Values): Values {
  const empty = variables.filter(({ name, default: given }) => given == null && (values[name] ?? "") === "");
  return Object.fromEntries(empty.map(({ name }) => [name, "The template has nothing to put there."]));
}

/** The request that fills a template in. A place that was left as it is gets its default from the template itself. */
export function filled({ name, variables }: Template, values: Values, input: string): Schema["RenderTemplate"] {
  const given = variables.flatMap(({ name, default: usual }) => {
    const value = values[name];
    return value === undefined || value === usual ? [] : [{ name, value }];
  });
  return { template: name, variables: given, ...(input !== "" && { input }) };
}
