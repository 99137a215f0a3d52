import { expect } from "vitest";
import { type EventLine, eventOf, fullmesh, parseLines } from "../cli/command-line.js";
import type { StartedProcess } from "../support/processes.js";

export interface Server {
  readonly server: StartedProcess;
  readonly address: string;
}

export interface JoinedMember {
  readonly member: StartedProcess;
  readonly address: string;
}

export function eventsOf(process: StartedProcess, ...types: readonly string[]): EventLine[] {
  return parseLines(process.lines).filter(({ event }) => types.includes(event));
}

export async function joinAt(server: string, args: readonly string[] = []): Promise<JoinedMember> {
  const member = fullmesh(["join", server, "--json", ...args]);
  const { address } = await eventOf(member, "registered");
  return { member, address: String(address) };
}

export async function whole(members: readonly JoinedMember[], size = members.length): Promise<void> {
  await Promise.all(members.map(({ member }) => eventOf(member, "complete", (line) => line.members === size)));
}

/** Who is listed at a server, in the order of joining. */
export async function listedAt({ address }: Server): Promise<string[]> {
  const status = fullmesh(["status", address, "--json"]);
  expect(await status.exited()).toMatchObject({ code: 0 });
  const { members } = JSON.parse(status.lines.join("")) as { members: { address: string }[] };
  return members.map((member) => member.address);
}

/** Nothing has happened to the links and identities of these members. */
export function expectUntouched(members: readonly JoinedMember[]): void {
  for (const { member } of members) expect(eventsOf(member, "unreachable", "unlink", "fenced")).toEqual([]);
}

/** Each of the servers has been told of the other one. */
export async function known(a: Server, b: Server): Promise<void> {
  await Promise.all([
    eventOf(a.server, "server:joined", ({ address }) => address === b.address),
    eventOf(b.server, "server:joined", ({ address }) => address === a.address),
  ]);
}
