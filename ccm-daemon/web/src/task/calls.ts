import { plain } from "../ui/plain";
import { type Edit, Files, type Piece } from "./diff";

/** What a tool is given; every tool has its own. */
export type Given = Record<string, unknown>;

/** How a use of a tool is shown. */
export type Shown =
  | { kind: "change"; path: string; pieces: Piece[] }
  | { kind: "command"; command: string; note: string }
  | { kind: "other" };

/** What most tools are about, in the order in which it tells the most. */
const TELLING = ["command", "file_path", "notebook_path", "path", "pattern", "url", "query", "description", "prompt"];
const LINE = 160;

/** What a tool is given, in one line. */
export function summary(input: Given): string {
  const telling = TELLING.map((name) => input[name]).find((value) => typeof value === "string" && value !== "");
  if (typeof telling === "string") return oneLine(telling);
  return Object.keys(input).length === 0 ? "" : oneLine(JSON.stringify(input));
}

export function oneLine(text: string): string {
  // A line of a text of a megabyte is in its beginning.
  const line = plain(text.slice(0, 4 * LINE))
    .replace(/\s+/g, " ")
    .trim();
  return line.length > LINE ? `${line.slice(0, LINE)}…` : line;
}

/** What a use of a tool did, as far as its kind is known. `files` learns from it. */
export function shown(name: string, input: Given, files: Files): Shown {
  const path = string(input.file_path) ?? string(input.notebook_path);
  if (path !== undefined) {
    const pieces = piecesOf(name, path, input, files);
    if (pieces) return { kind: "change", path, pieces };
  }
  const command = string(input.command);
  if (command !== undefined) return { kind: "command", command, note: string(input.description) ?? "" };
  return { kind: "other" };
}

function piecesOf(name: string, path: string, input: Given, files: Files): Piece[] | undefined {
  switch (name) {
    case "Write": {
      const content = string(input.content);
      return content === undefined ? undefined : files.write(path, content);
    }
    case "Edit": {
      const edit = editOf(input);
      return edit && files.edit(path, [edit]);
    }
    case "MultiEdit": {
      const edits = Array.isArray(input.edits) ? input.edits.map(editOf) : [];
      return edits.length > 0 && edits.every((edit) => edit !== undefined) ? files.edit(path, edits) : undefined;
    }
    case "NotebookEdit": {
      // Of a cell that is replaced or deleted the old source is not told.
      const source = string(input.new_source);
      if (source === undefined || input.edit_mode === "delete") return undefined;
      return [{ before: "", after: source }];
    }
    default:
      return undefined;
  }
}

function editOf(value: unknown): Edit | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { old_string, new_string, replace_all } = value as Given;
  if (typeof old_string !== "string" || typeof new_string !== "string") return undefined;
  return { old_string, new_string, replace_all: replace_all === true };
}

function string(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}
