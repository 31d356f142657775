// Escape sequences of terminals: with parameters, with a string up to its end, and short ones.
const SEQUENCES = /\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])/g;
// What moves or hides the text beside it, or turns its order around: a command must be what it looks like.
const CONTROLS = /[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g;

/** A text of anybody's as people can read it: what would change how it looks is gone, or is there to be seen. */
export function plain(text: string): string {
  return text.replace(SEQUENCES, "").replace(CONTROLS, "\ufffd");
}
