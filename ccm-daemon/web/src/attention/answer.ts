import { api, Refusal, type Schema, sure } from "../api/client";
import type { Ask } from "../state/machine.svelte";

export type Answer = Schema["Answer"];

/** What becomes of an answer: it counts, or somebody's did already. */
export type Outcome = { counts: true; ask: Ask } | { counts: false; ask: Ask };

/** What this page has answered itself; of others' answers people want to hear. */
export const own = new Set<string>();

export async function give(ask: Ask, answer: Answer): Promise<Outcome> {
  const path = { params: { path: { id: ask.id } } };
  own.add(ask.id);
  try {
    const answered = await sure(api.POST("/api/v1/asks/{id}/answer", { ...path, body: answer }));
    return { counts: true, ask: answered };
  } catch (error) {
    if (error instanceof Refusal && error.status === 409) {
      return { counts: false, ask: await sure(api.GET("/api/v1/asks/{id}", path)) };
    }
    own.delete(ask.id);
    throw error;
  }
}

/** What was answered, and by whom, for people. */
export function told(ask: Ask): string {
  if (ask.state === "open") {
    return ask.machine && ask.sent_answer
      ? `${answerWords(ask.sent_answer)}, sent to ${ask.machine.hostname}`
      : "still open";
  }
  if (ask.state !== "answered" || !ask.answer) return "not asked any more";
  return `${answerWords(ask.answer)} by ${ask.answered_by ?? "somebody"}`;
}

export function answerWords(answer: Answer): string {
  switch (answer.answer) {
    case "allow":
      return "allowed";
    case "deny":
      return answer.message ? `denied (“${answer.message}”)` : "denied";
    case "text":
      return `answered “${answer.text.join("; ")}”`;
  }
}
