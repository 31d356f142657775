// What tasks say, so that the stub of the model makes an agent do something (../stub/directives.md).

/** A use of a tool. */
export function tool(name: string, input: object): string {
  return `@tool ${name} ${JSON.stringify(input)}`;
}

/** A command in the project's folder. */
export function bash(command: string): string {
  return tool("Bash", { command });
}

export function say(text: string): string {
  return `@say ${text}`;
}

/** Says the first half, and the second when the gate was opened. */
export function stall(gate: string, text: string): string {
  return `@stall ${gate} ${text}`;
}

/** Nothing is answered until the gate was opened; then what the next line says. */
export function hold(gate: string): string {
  return `@hold ${gate}`;
}

export interface Choice {
  question: string;
  options: string[];
  multiple?: boolean;
}

/** Questions with options. */
export function choices(...choices: Choice[]): string {
  const questions = choices.map(({ question, options, multiple }) => ({
    question,
    header: "Choice",
    multiSelect: multiple ?? false,
    options: options.map((label) => ({ label, description: `Take ${label}` })),
  }));
  return tool("AskUserQuestion", { questions });
}

/** One directive a line. */
export function script(...lines: string[]): string {
  return lines.join("\n");
}
