import { missingPairsText } from "../protocol/missing-pair.js";
import type { RendezvousServer } from "../server/rendezvous-server.js";
import type { Output } from "./output.js";

/** Prints the events and the log of a server. `printsComplete`: false where the caller prints `complete`. */
export function reportServer(server: RendezvousServer, output: Output, capacity?: number, printsComplete = true): void {
  printMembers(server, output, capacity === undefined ? "" : ` of ${capacity}`);
  server.on("listening", (address) => {
    output.event("listening", null, { address }, `listening on ${address}; join with: fullmesh join ${address}`);
  });
  server.on("complete", ({ mesh, members, links, unverified, revision }) => {
    if (!printsComplete) return;
    const fields = { members, links, unverified, revision, scope: "mesh" };
    const rest = unverified === 0 ? "" : `; the server cannot verify ${counted(unverified, "pair")}`;
    const sentence = `complete: ${counted(members, "member")}, ${counted(links, "link")}${rest}`;
    output.event("complete", null, fields, sentence, mesh);
  });
  server.on("degraded", ({ mesh, count, missing }) => {
    output.event(
      "degraded",
      null,
      { count, missing },
      `degraded: ${missingPairsText(count, missing, Date.now())}`,
      mesh,
    );
  });
  server.on("teardown", ({ mesh, reason, members, links, unverified, count, missing, absent, incomplete }) => {
    const problem = incomplete ?? (count === 0 ? undefined : missingPairsText(count, missing, Date.now()));
    const fields = { reason, members, links, unverified, missing, absent, ...(incomplete && { incomplete }) };
    const sentence = `teardown of ${counted(members, "member")}: ${reason}${problem === undefined ? "" : `; ${problem}`}`;
    output.event("teardown", null, fields, sentence, mesh);
  });
  server.on("gathering", ({ mesh, back, expected }) => {
    const sentence = `${counted(back, "member")} of an earlier server came back; waiting for ${expected} more`;
    output.event("gathering", null, { back, expected }, sentence, mesh);
  });
  server.on("gathered", ({ mesh, back, missing }) => {
    const rest = missing.length === 0 ? "" : `; not back: ${missing.join(", ")}`;
    output.event("gathered", null, { back, missing }, `${counted(back, "member")} came back in all${rest}`, mesh);
  });
  server.on("released", ({ mesh, reason, members, links, unverified, count, missing, absent }) => {
    const fields = { reason, members, links, unverified, missing, absent };
    const untold = absent.map(([address, why]) => `${address} (${why})`).join(", ");
    const rest = `${count === 0 ? "" : `; ${missingPairsText(count, missing, Date.now())}`}${untold === "" ? "" : `; not told: ${untold}`}`;
    output.event("released", null, fields, `released ${counted(members, "member")}: ${reason}${rest}`, mesh);
  });
  server.on("store:lost", ({ reason }) => {
    const sentence = `the store is away (${reason}): nobody can join here, and meshes go on`;
    output.event("store:lost", null, { reason }, sentence);
  });
  server.on("store:back", ({ awayMs }) => {
    output.event("store:back", null, { awayMs }, `the store is back, after ${(awayMs / 1000).toFixed(1)} s`);
  });
  server.on("server:joined", ({ id, address = null }) => {
    output.event("server:joined", null, { id, address }, `the server at ${address} shares the store`);
  });
  server.on("server:gone", ({ id, address = null }) => {
    output.event("server:gone", null, { id, address }, `the server at ${address} is gone`);
  });
  server.on("closed", () => output.event("closed", null, {}, "closed"));
}

function printMembers(server: RendezvousServer, output: Output, suffix: string): void {
  server.on("joined", ({ mesh, address, order, dialect, id, name, replaces, returned }) => {
    const how = returned === true ? "found" : replaces === undefined ? "joined" : "joined again";
    const more = { ...(name === undefined ? {} : { name }), ...(replaces === undefined ? {} : { replaces }) };
    const fields = { address, order, dialect, id, ...more, ...(returned === undefined ? {} : { returned }) };
    const sentence = `${how} ${name === undefined ? "" : `${name} at `}${address} (${server.membersOf(mesh).length}${suffix})`;
    output.event("joined", null, fields, sentence, mesh);
  });
  for (const type of ["left", "lost"] as const) {
    server.on(type, ({ mesh, address, order, dialect, reason }) => {
      output.event(type, null, { address, order, dialect, reason }, `${type} ${address}: ${reason}`, mesh);
    });
  }
  server.on("forgotten", ({ mesh, addresses, reason }) => {
    const sentence = `forgot ${counted(addresses.length, "member")}: ${reason}; those that come back go on as before`;
    output.event("forgotten", null, { addresses, reason }, sentence, mesh);
  });
  server.on("waiting", ({ mesh, address, dialect, place }) => {
    const fields = { address, order: null, dialect, place };
    output.event("waiting", null, fields, `${address} waits at place ${place}`, mesh);
  });
}

/** Such as `1 link` or `2 links`. */
function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
