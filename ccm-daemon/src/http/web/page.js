// The page's own secret comes once, in the address, and is kept where only this origin can read it.
const KEY = "ccm-csrf";
const given = new URLSearchParams(location.hash.slice(1)).get("csrf");
if (given) {
  localStorage.setItem(KEY, given);
  history.replaceState(null, "", location.pathname);
}

const element = (id) => document.getElementById(id);
const say = (text) => { element("state").textContent = text; };

async function ask(path, options = {}) {
  const headers = { "X-CCM-CSRF": localStorage.getItem(KEY) ?? "" };
  const answer = await fetch(`/api/v1${path}`, { ...options, headers, credentials: "same-origin" });
  if (answer.status === 204) return null;
  const body = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(body.detail), { status: answer.status });
  return body;
}

function row(project) {
  const cells = [project.name, project.state, project.queued, project.running];
  const row = document.createElement("tr");
  for (const cell of cells) row.insertCell().textContent = cell;
  return row;
}

async function show() {
  const [status, projects] = await Promise.all([ask("/status"), ask("/projects")]);
  element("projects").replaceChildren(...projects.items.map(row));
  element("overview").hidden = false;
  const asks = status.open_asks === 0 ? "No agent waits for an answer."
    : `${status.open_asks} ${status.open_asks === 1 ? "question waits" : "questions wait"} for an answer: ccm asks shows them.`;
  say(`Signed in to ${status.system.hostname}. ${asks}`);
}

async function signOut() {
  const sessions = await ask("/sessions");
  const own = sessions.items.find((session) => session.this);
  await ask(`/sessions/${own.id}`, { method: "DELETE" });
  localStorage.removeItem(KEY);
  element("overview").hidden = true;
  say("Signed out. `ccm ui` in a terminal signs this browser in again.");
}

element("sign-out").addEventListener("click", () => signOut().catch((error) => say(error.message)));
show().catch((error) => {
  say(error.status === 401 ? "This browser is not signed in. Run `ccm ui` in a terminal of this machine."
    : `The daemon can't be asked: ${error.message}`);
});
