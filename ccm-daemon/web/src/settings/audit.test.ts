import { expect, it } from "vitest";

import { browserName } from "./browsers";
import { address, outcome, principal } from "./audit";

it("says who asked", () => {
  expect(principal("socket:uid=1000,pid=7")).toBe("user 1000 on this machine");
  expect(principal("browser:0123")).toBe("a browser");
  expect(principal("run:0123")).toBe("an agent");
  expect(principal("machine:0123,host=laptop,account=ada@example.org")).toBe("machine laptop");
  expect(principal("something new")).toBe("something new");
});

it("says what became of it", () => {
  expect([201, 403, 409, 500].map(outcome)).toEqual(["done", "not allowed", "refused (409)", "failed (500)"]);
});

it("leads to what has a view", () => {
  const id = "01a2179e-c621-742e-b667-4878e5303bbf";
  expect(address(`/api/v1/tasks/${id}/cancel`)).toBe(`/tasks/${id}`);
  expect(address(`/api/v1/runs/${id}`)).toBeUndefined();
  expect(address("/api/v1/tasks/bulk")).toBeUndefined();
});

it("knows browsers by their names", () => {
  const chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36";
  expect(browserName(chrome)).toBe("Chrome on Linux");
  expect(browserName(`${chrome} Edg/140.0`)).toBe("Edge on Linux");
  expect(browserName("curl/8")).toBe("curl/8");
  expect(browserName("")).toBe("unknown");
});
