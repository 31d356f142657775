// @supabase/lite on a PostgreSQL that is there already.

import { App } from "@supabase/lite";
import { createPostgresConnection } from "@supabase/lite/postgres";

/** Signs the double's tokens. It guards nothing: whoever runs the tests can read it here. */
export const JWT_SECRET = "the-double-signs-its-tokens-with-these-bytes";

/** How postgres.js reaches the database, as the role that signs in for all others. */
export function address(socket, database) {
  return { path: `${socket}/.s.PGSQL.5432`, user: "supalite", database, onnotice() {} };
}

// A parameter of a function comes as JSON text already; the driver would write it as a JSON string.
const asItIs = (value) => (typeof value === "string" ? value : JSON.stringify(value));

export function liteApp(socket, database, connections = 16) {
  const { path, onnotice } = address(socket, database);
  const connection = createPostgresConnection({
    url: `postgres://supalite@localhost/${database}`,
    postgresOptions: {
      path,
      onnotice,
      max: connections,
      types: {
        json: { to: 114, from: [114], serialize: asItIs, parse: JSON.parse },
        jsonb: { to: 3802, from: [3802], serialize: asItIs, parse: JSON.parse },
      },
    },
  });
  return new App({
    connection,
    auth: { enabled: true, jwt_secret: JWT_SECRET, email: { enable_confirmations: false } },
    // The gateway in front of it asks for keys.
    options: { server: { apiKeys: false } },
  });
}
