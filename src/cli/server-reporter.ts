import type { RendezvousServer } from "../server/rendezvous-server.js";
import type { Output } from "./output.js";

/** Writes what a server tells, as a command prints it. `tellsComplete`: false where somebody else tells that. */
export function reportServer(server: RendezvousServer, output: Output, capacity?: number, tellsComplete = true): void {
  tellMembers(server, output, capacity === undefined ? "" : ` of ${capacity}`);
  server.on("listening", (address) => {
    output.event("listening", null, { address }, `listening on ${address}; join with: fullmesh join ${address}`);
  });
  server.on("complete", ({ mesh, members, links, unverified, revision }) => {
    if (!tellsComplete) return;
    const fields = { members, links, unverified, revision, scope: "mesh" };
    const rest = unverified === 0 ? "" : `; ${unverified} pairs could not be verified from here`;
    output.event("complete", null, fields, `complete: ${members} members, ${links} links${rest}`, mesh);
  });
  server.on("degraded", ({ mesh, count, missing }) => {
    output.event("degraded", null, { count, missing }, `degraded: ${spell(count, missing)}`, mesh);
  });
  server.on("teardown", ({ mesh, reason, members, links, unverified, count, missing, absent, incomplete }) => {
    const lacking = incomplete ?? (count === 0 ? undefined : spell(count, missing));
    const fields = { reason, members, links, unverified, missing, absent, ...(incomplete && { incomplete }) };
    const sentence = `teardown of ${members} members: ${reason}${lacking === undefined ? "" : `; ${lacking}`}`;
    output.event("teardown", null, fields, sentence, mesh);
  });
  server.on("closed", () => output.event("closed", null, {}, "closed"));
  server.on("note", (record) => output.note(record));
}

function tellMembers(server: RendezvousServer, output: Output, room: string): void {
  server.on("joined", ({ mesh, address, order, dialect, id, name, replaces }) => {
    const how = replaces === undefined ? "joined" : "joined again";
    const more = { ...(name === undefined ? {} : { name }), ...(replaces === undefined ? {} : { replaces }) };
    const fields = { address, order, dialect, id, ...more };
    const sentence = `${how} ${name === undefined ? "" : `${name} at `}${address} (${server.membersOf(mesh).length}${room})`;
    output.event("joined", null, fields, sentence, mesh);
  });
  for (const type of ["left", "lost"] as const) {
    server.on(type, ({ mesh, address, order, dialect, reason }) => {
      output.event(type, null, { address, order, dialect, reason }, `${type} ${address}: ${reason}`, mesh);
    });
  }
  server.on("waiting", ({ mesh, address, dialect, place }) => {
    const fields = { address, order: null, dialect, place };
    output.event("waiting", null, fields, `waiting ${address}: place ${place} in line`, mesh);
  });
}

function spell(count: number, missing: readonly (readonly [a: string, b: string, reason: string])[]): string {
  const named = missing.map(([a, b, reason]) => `${a} - ${b} (${reason})`).join(", ");
  const rest = count > missing.length ? ` and ${count - missing.length} more` : "";
  return `${count} pairs are missing: ${named}${rest}`;
}
