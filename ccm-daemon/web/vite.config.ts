import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig, type ProxyOptions } from "vite";

/**
 * `npm run dev` shows the sources as they are, over a daemon that runs. It asks with the machine's token, so no browser
 * has to be signed in: for the developer's own machine only.
 */
function daemon(): ProxyOptions {
  const target = process.env.CCM_URL ?? "http://127.0.0.1:8765";
  const home = process.env.CCM_HOME ?? join(homedir(), ".ccm-global");
  const token = () => process.env.CCM_TOKEN ?? readFileSync(join(home, "token"), "utf8").trim();
  return {
    target,
    changeOrigin: true,
    ws: true,
    configure(proxy) {
      const ours = (request: { setHeader(name: string, value: string): void; removeHeader(name: string): void }) => {
        request.setHeader("authorization", `Bearer ${token()}`);
        for (const name of ["origin", "cookie", "x-ccm-csrf"]) request.removeHeader(name);
      };
      proxy.on("proxyReq", ours);
      proxy.on("proxyReqWs", ours);
    },
  };
}

export default defineConfig(({ command }) => ({
  plugins: [svelte()],
  build: {
    target: "es2023",
    // The daemon serves hashed files for ever, and nothing inline passes its policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: command === "serve" ? { proxy: { "/api": daemon() } } : {},
  test: { include: ["src/**/*.test.ts"] },
}));
