// A task from beginning to end.

import { note, question } from "../harness/page.ts";
import { state } from "../harness/scenes.ts";
import { bash, hold, say, script, stall, tool } from "../harness/scripts.ts";
import { expect, test } from "../harness/test.ts";

test("what an agent says and does appears as it happens", async ({ machine, signedIn: page }) => {
  const project = await machine.project("shop", { "agent.permission_mode": "acceptEdits" });
  await project.write("README.md", "# Shop\n\nSells things.\n\nOpen all day.\n");
  const file_path = `${project.folder}/README.md`;
  const id = await project.task(
    script(
      tool("Read", { file_path }),
      tool("Edit", { file_path, old_string: "Sells things.", new_string: "Sells hammers & <b>saws</b>." }),
      stall("go", "The first half and the second half."),
    ),
    { title: "Say what is sold" },
  );
  await page.goto(`/tasks/${id}`);
  await expect(page.getByRole("heading", { level: 1, name: "Say what is sold" })).toBeVisible();
  const transcript = page.getByRole("region", { name: "Transcript" });
  // What a tool call changed is there as lines, and never as anything but text.
  const change = transcript.getByRole("group", { name: /^Change of .*README\.md/ });
  await expect(change).toContainText("removed: Sells things.");
  await expect(change).toContainText("added: Sells hammers & <b>saws</b>.");
  await expect(page.getByRole("main").getByText("running").first()).toBeVisible();
  machine.stub.open("go");
  await expect(transcript.getByText("The first half and the second half.")).toBeVisible();
  await expect(page.getByRole("main").getByText("succeeded").first()).toBeVisible();
  await expect(page.getByRole("region", { name: "Result" })).toContainText("and the second half.");
  expect(await project.read("README.md")).toContain("Sells hammers & <b>saws</b>.");
});

test("a question is answered on the page of its task, and the outcome is seen there", async ({ machine, signedIn: page }) => {
  const project = await machine.project("shop");
  const id = await project.task(script(bash("echo made > made; cat made"), bash("rm made"), say("all is said")));
  await page.goto(`/tasks/${id}`);
  const transcript = page.getByRole("region", { name: "Transcript" });
  await question(page, "Bash: echo made").getByRole("button", { name: "Allow" }).click();
  const second = question(page, "Bash: rm made");
  await second.getByRole("button", { name: "Deny with words" }).click();
  await second.getByLabel("What the agent is told").fill("Keep it");
  await second.getByRole("button", { name: "Deny and tell it" }).click();
  await expect(page.getByRole("region", { name: "Result" })).toContainText("all is said");
  await transcript.getByText("rm made").first().click();
  await expect(transcript.getByText("Keep it").first()).toBeVisible();
  expect(await project.read("made")).toBe("made\n");
  expect(machine.stub.toolResults().map((result) => result.isError)).toEqual([false, true]);
});

test("an agent is told more while it works", async ({ machine, signedIn: page }) => {
  const project = await machine.project("shop");
  const id = await project.task(script(stall("go", "at work"), say("that too")));
  await page.goto(`/tasks/${id}`);
  await page.getByLabel("Tell the agent more").fill("And look at the links\n@say I looked at the links.");
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await expect(page.getByLabel("Tell the agent more")).toHaveValue("");
  const messages = page.getByRole("region", { name: "Messages" });
  await expect(messages).toContainText("And look at the links");
  machine.stub.open("go");
  await expect(messages).toContainText("the agent has it");
  await expect(page.getByRole("region", { name: "Result" })).toContainText("I looked at the links.");
  expect(machine.stub.userTexts().join("\n")).toContain("And look at the links");
});

test("a message that is being written outlasts the daemon and the page", async ({ machine, signedIn: page }) => {
  const project = await machine.project("shop");
  const id = await project.task(script(stall("go", "at work")));
  await page.goto(`/tasks/${id}`);
  const field = page.getByLabel("Tell the agent more");
  await field.fill("half a thought");
  await machine.stopDaemon();
  await expect(note(page, "No contact with the daemon since")).toBeVisible();
  await expect(field).toHaveValue("half a thought");
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await expect(page.getByRole("alert").filter({ hasText: "The message was not taken" })).toContainText("still here");
  await machine.startDaemon();
  await expect(note(page, "No contact with the daemon")).toBeHidden();
  await expect(field).toHaveValue("half a thought");
  await page.reload();
  await expect(field).toHaveValue("half a thought");
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await expect(field).toHaveValue("");
});

test("a task is stopped, after one more question", async ({ machine, signedIn: page }) => {
  const project = await machine.project("shop");
  const id = await project.task(script(hold("never"), say("done")));
  await page.goto(`/tasks/${id}`);
  await page.getByRole("button", { name: "Cancel" }).click();
  const sure = page.getByRole("dialog", { name: "Stop this task?" });
  await sure.getByRole("button", { name: "Leave it" }).click();
  await expect(sure).toBeHidden();
  await expect(page.getByRole("button", { name: "Cancel" })).toBeFocused();
  await page.getByRole("button", { name: "Cancel" }).click();
  await sure.getByRole("button", { name: "Stop it" }).click();
  await expect(page.getByRole("main").getByText("cancelled").first()).toBeVisible();
  await state(machine, id, "cancelled");
});

test("a failed task says why, and is tried again", async ({ machine, signedIn: page }) => {
  const project = await machine.project("shop");
  const id = await project.task(script("@fail 400 x6 : the model is not there today", say("now it is")));
  await page.goto(`/tasks/${id}`);
  await expect(page.getByRole("region", { name: "Why it failed" })).toBeVisible();
  await expect(page.getByRole("region", { name: "What it said last" })).toContainText("the model is not there today");
  await page.getByRole("button", { name: "Retry" }).click();
  await expect(page.getByRole("heading", { name: "Attempts (2)" })).toBeVisible();
});

test("a command that fails is tried again and succeeds", async ({ machine, signedIn: page }) => {
  const project = await machine.commandProject("shop", ["sh", "-c", "cat; test -e mended && echo fine"]);
  const id = await project.task("Look whether it is mended");
  await page.goto(`/tasks/${id}`);
  await expect(page.getByRole("region", { name: "Why it failed" })).toBeVisible();
  await project.write("mended", "");
  await page.getByRole("button", { name: "Retry" }).click();
  await expect(page.getByRole("main").getByText("succeeded").first()).toBeVisible();
  await page.getByRole("button", { name: /^Attempt 1.*failed/ }).click();
  await page.getByRole("button", { name: "Log" }).click();
  await expect(page.getByText("Look whether it is mended").last()).toBeVisible();
});

test("an agent is interrupted, told otherwise, and goes on in the same conversation", async ({ machine, signedIn: page }) => {
  const project = await machine.project("shop");
  const id = await project.task(script(bash("touch first"), stall("never", "a long way round"), say("never said")));
  await page.goto(`/tasks/${id}`);
  await question(page, "Bash: touch first").getByRole("button", { name: "Allow" }).click();
  await expect.poll(() => project.read("first")).toBeDefined();
  await page.getByRole("button", { name: "Interrupt" }).click();
  await page.getByLabel("Tell the agent what to do next").fill("Take the short way\n@say The short way was taken.");
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await expect(page.getByRole("region", { name: "Result" })).toContainText("The short way was taken.");
  await expect(page.getByRole("main").getByText("succeeded").first()).toBeVisible();
  // Of one conversation: what was asked first is still known.
  expect(machine.stub.userTexts().join("\n")).toContain("touch first");
});

test("an agent is interrupted with what it is to do instead", async ({ machine, signedIn: page }) => {
  const project = await machine.project("shop");
  const id = await project.task(script(stall("never", "a long way round"), say("never said")));
  await page.goto(`/tasks/${id}`);
  await expect(page.getByRole("region", { name: "Transcript" })).toContainText("claude");
  await page.getByLabel("Tell the agent more").fill("@say The short way was taken.");
  await page.getByRole("button", { name: "Interrupt and send" }).click();
  await expect(page.getByRole("region", { name: "Result" })).toContainText("The short way was taken.");
});
