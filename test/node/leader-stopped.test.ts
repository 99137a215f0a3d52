import { once } from "node:events";
import { expect, it, onTestFinished } from "vitest";
import { LoadedMember, loadedMemberArgs } from "../../proof/loaded-mesh.js";
import { serve } from "../../src/index.js";
import { StartedProcess } from "../support/processes.js";

const limits = { leaseMs: 3_500, silentMs: 1_500, probeMs: 300 };
/** Members learn the lease from their server. */
const memberLimits = { silentMs: 1_500, probeMs: 300 };

it("N21: a leader that is stopped is passed over, and knows it as soon as it runs again", async () => {
  const server = await serve({ listen: "127.0.0.1:0", limits, logger: false });
  onTestFinished(() => server.close());
  const add = async (): Promise<LoadedMember> => {
    const args = loadedMemberArgs(server.address, { limits: memberLimits, logger: false });
    const started = new StartedProcess(process.execPath, args, { hasStdin: true });
    onTestFinished(() => started.stop());
    const member = new LoadedMember(started);
    await member.nth("registered");
    return member;
  };
  const members = [await add(), await add(), await add()] as const;
  const [first, second, third] = members;
  await Promise.all(members.map((member) => member.complete(3)));
  const addresses = await Promise.all(members.map(async (member) => (await member.nth("registered")).address));
  const leadersOf = (member: LoadedMember): unknown[] =>
    member.happenings.filter(({ type }) => type === "leader").map(({ leader }) => leader ?? null);
  expect(members.map(leadersOf)).toEqual(members.map(() => [addresses[0]]));

  const lost = once(server, "lost");
  first.process.kill("SIGSTOP");
  await Promise.all([second.nth("leader", 2), third.nth("leader", 2)]);
  expect([leadersOf(second), leadersOf(third)]).toEqual([addresses.slice(0, 2), addresses.slice(0, 2)]);
  // By now it has surely been stopped for its own lease: that of the server began no earlier than when the session broke.
  await lost;
  first.process.kill("SIGCONT");
  await first.nth("leader", 3);
  expect(leadersOf(first).slice(0, 2)).toEqual([addresses[0], null]);
  // It has joined again: all agree.
  const last = (await Promise.all(members.map((member) => member.report()))).map(({ leader }) => leader);
  expect(new Set(last).size).toBe(1);
}, 60_000);
