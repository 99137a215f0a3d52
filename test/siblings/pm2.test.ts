import { execFile } from "node:child_process";
import { mkdirSync } from "node:fs";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { siblings } from "../../src/index.js";
import { requireTool } from "../support/tools.js";
import { ownFolder, siblingArgs } from "./processes.js";

test("four workers of PM2's cluster mode are one mesh, named by their instances, and each leaves when PM2 stops it", async (context) => {
  const pm2 = requireTool(context, "pm2");
  const folder = ownFolder();
  const home = `${folder}/pm2`;
  mkdirSync(home);
  const run = async (...args: readonly string[]): Promise<unknown> =>
    await promisify(execFile)(pm2, args, { env: { ...process.env, PM2_HOME: home } });
  onTestFinished(async () => void (await run("kill")));
  const [program = "", ...args] = siblingArgs("my-app", {}, ["signals"]);
  await run("start", program, "-i", "4", "--name", "app", "--", ...args);
  const node = await siblings("my-app", { logger: false });
  onTestFinished(() => node.leave());
  await node.complete({ size: 5 });
  const names = node.peers.map(({ name }) => name);
  expect(names.sort()).toEqual(["0", "1", "2", "3"]);
  const reasons = new Promise<string[]>((resolve) => {
    const all: string[] = [];
    node.on("peer:down", ({ reason }) => {
      if (all.push(reason) === 4) resolve(all);
    });
  });
  await run("stop", "app");
  expect(await reasons).toEqual(["left", "left", "left", "left"]);
}, 120_000);
