// Stands in for a Supabase project: Auth, REST and Realtime on one port, on a PostgreSQL that is there already.
//
// Usage: node main.js SOCKET-FOLDER DATABASE [HOST [PORT]]
//
// Says on standard output where it is, as a line of JSON, and ends when its standard input does. What can be made to go
// wrong is under /_double, see control.js.

import { createServer } from "node:http";

import postgres from "postgres";

import { Auth } from "./auth.js";
import { control } from "./control.js";
import { Faults, Seen } from "./faults.js";
import { JWT_SECRET, address, liteApp } from "./lite.js";
import { Realtime } from "./realtime.js";
import { expiredForRest, json } from "./replies.js";
import { Tokens } from "./tokens.js";

const [socket, database, host = "127.0.0.1", port = "0"] = process.argv.slice(2);
const tokens = new Tokens(JWT_SECRET);
const sql = postgres({ ...address(socket, database), max: 8 });
const app = liteApp(socket, database);
const auth = new Auth(sql, lite, tokens);
const realtime = new Realtime(sql, tokens);
const faults = new Faults();
const seen = new Seen();

// The keys of a project. The first two are for clients, the others are above all rules.
const forever = { iss: "supabase", ref: "double", iat: 1_700_000_000, exp: 4_000_000_000 };
const keys = {
  publishable: "sb_publishable_double_of_a_project",
  anon: tokens.sign({ ...forever, role: "anon" }),
  secret: "sb_secret_double_of_a_project",
  service_role: tokens.sign({ ...forever, role: "service_role" }),
};
const known = new Set(Object.values(keys));

/** What @supabase/lite answers. */
async function lite({ method, path, search, headers, body }) {
  const hasBody = method !== "GET" && method !== "HEAD" && body.length > 0;
  const { apikey, host, connection, "content-length": length, "transfer-encoding": encoding, ...kept } = headers;
  const request = new Request(`http://double${path}${search}`, { method, headers: kept, body: hasBody ? body : undefined });
  const response = await app.fetch(request, { peerAddress: null });
  return {
    status: response.status,
    headers: Object.fromEntries(response.headers),
    body: Buffer.from(await response.arrayBuffer()),
  };
}

function checkKey({ headers, query }) {
  const key = headers.apikey ?? query.get("apikey");
  if (!key) {
    const hint = "No `apikey` request header or url param was found.";
    return json(401, { message: "No API key found in request", hint });
  }
  if (!known.has(key)) {
    return json(401, { message: "Invalid API key", hint: "Double check your Supabase `anon` or `service_role` API key." });
  }
}

async function route(request) {
  const refused = checkKey(request);
  if (refused) return refused;
  if (request.path.startsWith("/auth/v1/")) return auth.answer(request);
  if (request.path.startsWith("/rest/v1/")) {
    const bearer = Tokens.bearer(request);
    if (bearer && tokens.read(bearer).error === "expired") return expiredForRest();
    return lite(request);
  }
  return json(404, { message: "no Route matched with those values" });
}

async function read(incoming) {
  const chunks = [];
  for await (const chunk of incoming) chunks.push(chunk);
  const { pathname, search, searchParams } = new URL(incoming.url, "http://double");
  const body = Buffer.concat(chunks);
  return {
    method: incoming.method,
    path: pathname,
    search,
    query: searchParams,
    headers: incoming.headers,
    body,
    json() {
      try {
        return JSON.parse(body) ?? {};
      } catch {
        return {};
      }
    },
  };
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function serve(incoming, outgoing) {
  const request = await read(incoming);
  const write = ({ status, headers, body }) => {
    const { "content-length": length, "transfer-encoding": encoding, connection, ...kept } = headers;
    outgoing.writeHead(status, { ...kept, "content-length": body.length });
    outgoing.end(body);
  };
  if (request.path.startsWith("/_double/")) return write(await control(request, { tokens, realtime, faults, seen, sql, keys }));

  const wrong = Object.fromEntries(faults.take(request.method, request.path).map((fault) => [fault.kind, fault]));
  if (wrong.delay) await pause(wrong.delay.ms);
  if (wrong.request_lost) {
    seen.note(request.method, request.path, null);
    return incoming.socket.destroy();
  }
  let answer;
  if (wrong.status) {
    const { status, body = { message: "on purpose" }, headers } = wrong.status;
    answer = json(status, body, headers);
  } else {
    answer = await route(request);
  }
  if (wrong.slow_answer) await pause(wrong.slow_answer.ms);
  seen.note(request.method, request.path, answer.status);
  if (wrong.answer_lost) return incoming.socket.destroy();
  if (wrong.answer_cut) {
    outgoing.writeHead(answer.status, { ...answer.headers, "content-length": answer.body.length });
    outgoing.write(answer.body.subarray(0, answer.body.length / 2), () => incoming.socket.destroy());
    return;
  }
  write(answer);
}

const server = createServer((incoming, outgoing) => {
  serve(incoming, outgoing).catch((error) => {
    console.error(`${incoming.method} ${incoming.url}:`, error);
    if (outgoing.headersSent) return incoming.socket.destroy();
    outgoing.writeHead(500, { "content-type": "application/json" });
    outgoing.end(JSON.stringify({ message: "the double failed, see its log" }));
  });
});
// A client that keeps its line open must not meet one that is just being closed.
server.keepAliveTimeout = 0;
server.on("upgrade", async (incoming, socket, head) => {
  socket.on("error", () => socket.destroy());
  const { pathname, searchParams } = new URL(incoming.url, "http://double");
  const wrong = faults.take("GET", pathname).find((fault) => fault.kind === "status" || fault.kind === "request_lost");
  seen.note("GET", pathname, 101);
  const refused =
    pathname !== "/realtime/v1/websocket" ? json(404, {}) : checkKey({ headers: incoming.headers, query: searchParams });
  if (wrong?.kind === "request_lost") return socket.destroy();
  if (wrong ?? refused) return socket.end(`HTTP/1.1 ${(wrong ?? refused).status} Refused\r\nconnection: close\r\n\r\n`);
  realtime.connect(incoming, socket, head, searchParams);
});

await realtime.start();
await app.init();
server.listen(Number(port), host, () => {
  console.log(JSON.stringify({ port: server.address().port, keys }));
});
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
process.stdin.on("error", () => process.exit(0));
