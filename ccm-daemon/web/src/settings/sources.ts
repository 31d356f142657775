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
      const asked = await api.GET("/api/v1/projects/{id}/config", { params: { path: { id } } });
      return { config: await sure(Promise.resolve(asked)), etag: tag(asked.response) };
    },
  };
}
