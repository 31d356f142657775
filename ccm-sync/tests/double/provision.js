// Makes the double's schema auth in a database. Usage: node provision.js SOCKET-FOLDER DATABASE

import { liteApp } from "./lite.js";

const [socket, database] = process.argv.slice(2);
const app = liteApp(socket, database, 1);
await app.ensureSystemSchema();
await app.connection.close();
