import { expect, test } from "vitest";

import type { Schema } from "../api/client";
import { filled, missing } from "./template";

const template: Schema["Template"] = {
  name: "review",
  title: "Review",
  input: "optional",
  variables: [{ name: "file" }, { name: "what", default: "mistakes" }],
};

test("places without a default need a value", () => {
  expect(missing(template, {})).toHaveProperty("file");
  expect(missing(template, { file: "a.rs", what: "" })).toEqual({});
});

test("a place that was left as it is keeps the template's default", () => {
  expect(filled(template, { file: "a.rs", what: "mistakes", gone: "x" }, "")).toEqual({
    template: "review",
    variables: [{ name: "file", value: "a.rs" }],
  });
  // An empty value is a value.
  expect(filled(template, { what: "" }, "more")).toEqual({
    template: "review",
    variables: [{ name: "what", value: "" }],
    input: "more",
  });
});
