// Realtime (/realtime/v1/websocket): changes of rows, told to those who may read them.
//
// Frames are those of Phoenix channels: `[join_ref, ref, topic, event, payload]`, or objects with these names for
// clients of version 1.0.0. A change is one that PostgreSQL notified of (sql/3-realtime.sql).

import { WebSocketServer } from "ws";

/** A socket that says nothing for so long is closed. */
const SILENCE_MS = 60_000;

export class Realtime {
  #sql;
  #tokens;
  #server = new WebSocketServer({ noServer: true });
  #channels = new Set();
  #keys = new Map();
  #held;
  #order = Promise.resolve();
  /** From the answer to a join until changes are told. */
  settleMs = 20;
  /** What is wrong with the next pokes: `{ kind: "drop" | "double" | "reorder" | "delay", times, ms }`. */
  pokes;
  /** Whether new sockets are refused. */
  refuses = false;

  constructor(sql, tokens) {
    this.#sql = sql;
    this.#tokens = tokens;
  }

  async start() {
    await this.#sql.listen("realtime", (payload) => {
      const change = JSON.parse(payload);
      this.#order = this.#order.then(() => this.#tell(change)).catch((error) => console.error("realtime:", error));
    });
  }

  connect(request, socket, head, query) {
    if (this.refuses) {
      socket.end("HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\r\n");
      return;
    }
    this.#server.handleUpgrade(request, socket, head, (ws) => this.#talk(ws, query.get("vsn") ?? "1.0.0"));
  }

  /** Breaks all lines. */
  cut() {
    for (const ws of this.#server.clients) ws.terminate();
  }

  get connected() {
    return this.#server.clients.size;
  }

  /** How many channels are told of changes. */
  get settled() {
    return [...this.#channels].filter((channel) => channel.settled).length;
  }

  #talk(ws, version) {
    const asArray = version === "2.0.0";
    const send = (joinRef, ref, topic, event, payload) => {
      if (ws.readyState !== ws.OPEN) return;
      ws.send(JSON.stringify(asArray ? [joinRef, ref, topic, event, payload] : { join_ref: joinRef, ref, topic, event, payload }));
    };
    const mine = new Map();
    let silence;
    const heard = () => {
      clearTimeout(silence);
      silence = setTimeout(() => ws.close(1000), SILENCE_MS);
    };
    heard();
    ws.on("error", () => ws.terminate());
    ws.on("close", () => {
      clearTimeout(silence);
      for (const channel of mine.values()) this.#leave(channel);
    });
    ws.on("message", (data) => {
      heard();
      let frame;
      try {
        frame = JSON.parse(data);
      } catch {
        return ws.close(1003);
      }
      const [joinRef, ref, topic, event, payload] = asArray
        ? frame
        : [frame.join_ref, frame.ref, frame.topic, frame.event, frame.payload];
      const reply = (status, response) => send(joinRef, ref, topic, "phx_reply", { status, response });
      if (topic === "phoenix" && event === "heartbeat") return reply("ok", {});
      const channel = mine.get(topic);
      switch (event) {
        case "phx_join": {
          if (channel) this.#leave(channel);
          const answer = this.#join({ topic, joinRef, send }, payload ?? {});
          if (answer.error) return reply("error", { reason: answer.error });
          mine.set(topic, answer.channel);
          answer.channel.gone = () => mine.delete(topic);
          reply("ok", { postgres_changes: answer.channel.wanted });
          send(null, null, topic, "presence_state", {});
          this.#settle(answer.channel);
          return;
        }
        case "phx_leave":
          if (channel) this.#leave(channel);
          reply("ok", {});
          return send(joinRef, joinRef, topic, "phx_close", {});
        case "access_token":
          if (channel && payload?.access_token) this.#renew(channel, payload.access_token);
          return;
        default:
          if (!channel) reply("error", { reason: "unmatched topic" });
      }
    });
  }

  #join(channel, { config, access_token: token }) {
    if (!channel.topic.startsWith("realtime:")) return { error: "unmatched topic" };
    const { claims, error } = this.#tokens.read(token ?? "");
    if (error) return { error: error === "expired" ? "InvalidJWTToken: Token has expired" : "MalformedJWT: The token provided is not a valid JWT" };
    channel.claims = claims;
    channel.wanted = (config?.postgres_changes ?? []).map((want, place) => ({ ...want, id: 1000 + place }));
    this.#channels.add(channel);
    this.#watch(channel);
    return { channel };
  }

  #settle(channel) {
    channel.settling = setTimeout(() => {
      channel.settled = true;
      channel.send(channel.joinRef, null, channel.topic, "system", {
        channel: channel.topic.slice("realtime:".length),
        extension: "postgres_changes",
        message: "Subscribed to PostgreSQL",
        status: "ok",
      });
    }, this.settleMs);
  }

  #renew(channel, token) {
    const { claims, error } = this.#tokens.read(token);
    if (error) return this.#end(channel, `the token is no good: ${error}`);
    channel.claims = claims;
    this.#watch(channel);
  }

  // A channel does not outlive its token.
  #watch(channel) {
    clearTimeout(channel.expiry);
    const left = channel.claims.exp * 1000 - Date.now();
    channel.expiry = setTimeout(() => this.#end(channel, "Token has expired 0 seconds ago"), Math.min(left, 2 ** 31 - 1));
  }

  /** All tokens have expired. */
  expireAll() {
    for (const channel of [...this.#channels]) this.#end(channel, "Token has expired 0 seconds ago");
  }

  #end(channel, message) {
    channel.send(channel.joinRef, null, channel.topic, "system", {
      channel: channel.topic.slice("realtime:".length),
      extension: "system",
      message,
      status: "error",
    });
    channel.send(channel.joinRef, channel.joinRef, channel.topic, "phx_close", {});
    this.#leave(channel);
  }

  #leave(channel) {
    clearTimeout(channel.settling);
    clearTimeout(channel.expiry);
    channel.settled = false;
    this.#channels.delete(channel);
    channel.gone?.();
  }

  // --- changes ---

  async #tell(change) {
    const pokes = [];
    for (const channel of this.#channels) {
      if (!channel.settled) continue;
      const ids = channel.wanted.filter((want) => wants(want, change)).map((want) => want.id);
      if (ids.length && (await this.#mayRead(channel.claims, change))) pokes.push({ channel, ids });
    }
    if (!pokes.length) return;
    const send = () => pokes.forEach(({ channel, ids }) => poke(channel, ids, change));
    const fault = this.pokes;
    if (!fault || fault.times <= 0) return send();
    fault.times -= 1;
    switch (fault.kind) {
      case "drop":
        return;
      case "double":
        send();
        return send();
      case "delay":
        setTimeout(send, fault.ms);
        return;
      case "reorder": {
        // Each other one waits for the one after it.
        const held = this.#held;
        this.#held = held ? undefined : send;
        if (held) {
          send();
          held();
        }
      }
    }
  }

  async #mayRead(claims, { schema, table, record }) {
    const keys = await this.#keyOf(schema, table);
    return this.#sql.begin(async (sql) => {
      await sql`select set_config('role', ${claims.role}, true), set_config('request.jwt.claims', ${JSON.stringify(claims)}, true)`;
      let found = sql`select 1 from ${sql(schema)}.${sql(table)} where true`;
      for (const key of keys) found = sql`${found} and ${sql(key)} = ${record[key]}`;
      return (await found.catch(() => [])).length > 0;
    });
  }

  async #keyOf(schema, table) {
    const name = `${schema}.${table}`;
    if (!this.#keys.has(name)) {
      const rows = await this.#sql`
        select a.attname from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey)
        where i.indrelid = ${name}::regclass and i.indisprimary`;
      this.#keys.set(name, rows.map((row) => row.attname));
    }
    return this.#keys.get(name);
  }
}

function wants(want, { schema, table, type, record }) {
  if (want.event !== "*" && want.event !== type) return false;
  if (want.schema !== schema || (want.table && want.table !== table)) return false;
  if (!want.filter) return true;
  const [, column, value] = /^([^=]+)=eq\.(.*)$/.exec(want.filter) ?? [];
  return column !== undefined && String(record[column]) === value;
}

function poke(channel, ids, { schema, table, type, record, commit_timestamp }) {
  if (!channel.settled) return;
  const columns = Object.keys(record).map((name) => ({ name, type: typeof record[name] === "number" ? "int8" : "text" }));
  channel.send(channel.joinRef, null, channel.topic, "postgres_changes", {
    ids,
    data: { schema, table, type, commit_timestamp, columns, record, old_record: {}, errors: null },
  });
}
