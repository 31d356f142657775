import { api, sure } from "../api/client";
import type { Source } from "./form.svelte";

function tag(response: Response): string {
  return response.headers.get("etag") ?? "*";
}

export const ofMachine: Source = {
  async read() {
    const [asked, schema] = await Promise.all([api.GET("/api/v1/config"), sure(api.GET("/api/v1/config/schema"))]);
    return { config: await sure(Promise.resolve(asked)), etag: tag(asked.response), schema };
  },
  async save(changes, etag) {
    const params = { header: { "If-Match": etag } };
    const { restart, warnings } = await sure(api.PATCH("/api/v1/config", { params, body: { changes } }));
    return { restart: restart.map(({ key }) => key), said: warnings };
  },
};

export function ofProject(id: string): Source {
  return {
    async read() {
      const of = { query: { of: "project" as const } };
      const [asked, schema] = await Promise.all([
        api.GET("/api/v1/projects/{id}/config", { params: { path: { id } } }),
        sure(api.GET("/api/v1/config/schema", { params: of })),
      ]);
      return { config: await sure(Promise.resolve(asked)), etag: tag(asked.response), schema };
    },
    async save(changes, etag) {
      const params = { path: { id }, header: { "If-Match": etag } };
      const edited = await sure(api.PATCH("/api/v1/projects/{id}/config", { params, body: { changes } }));
      if (edited.trusted) return { restart: [], said: [] };
      const why = edited.project.detail ?? "Until somebody trusts the settings, the project's tasks wait.";
      return { restart: [], said: ["This machine does not trust all of these settings yet.", why] };
    },
  };
}
