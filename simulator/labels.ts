import type { ScenarioKind } from "./scenario.js";

/** Of 10,000 plays so many must come across each situation that is wanted. */
export const fewestHits = 10;

/** Situations of links, messages, requests, streams and members that native members meet in every kind of play. */
const ofNatives = [
  ...["DIAL_FAILED", "DIAL_TIMEOUT", "SERVER_AWAY", "UNAWAITED_CHALLENGE", "ADDRESS_UNPROVED", "FENCED"],
  ...["append in flight", "append rejected", "broken", "broken noticed by one end only", "complete", "complete heard"],
  ...["degraded", "drained", "found whole", "gave up silent connection", "goodbye crossed", "loss reported", "relink"],
  ...["lost by dial-back", "lost by lease", "parked judged after entry", "replaced by restart", "resumed with replay"],
  ...["request answered", "request called off", "request failed: HANDLER_FAILED", "request failed: TIMED_OUT"],
  ...["request failed: PEER_DOWN", "request not wanted any more", "session resumed", "stream read to its end"],
  ...["stream aborted: PEER_DOWN", "stream aborted: STREAM_ABORTED", "sent before up, and up", "message slow"],
];

/** Situations of a native mesh whose server lives, and which may end when it is full. */
const ofEndings = [
  ...["ADDRESS_IN_USE", "MESH_SEALED", "all members gone", "mesh forgotten", "entries after a resume", "waiting"],
  ...["snapshot instead of entries", "teardown naming pairs", "teardown naming members", "fenced and rejoined"],
  ...faults("claim", "crash", "cut", "killServer", "leave", "rejoin", "stall", "suspend", "suspendServer"),
];

/** The situations that plays of a kind must come across: without them the plays would show nothing. */
export const wantedLabels: Readonly<Record<ScenarioKind | "shared" | "logs", readonly string[]>> = {
  classic: [
    ...["ALREADY_LINKED", "STORE_UNAVAILABLE", "DIAL_FAILED", "DIAL_TIMEOUT", "HANDSHAKE_TIMEOUT", "LIST_REVISED"],
    ...["MESH_SEALED", "NOT_LISTED", "NOTHING_SAID", "REGISTRATION_REVISED", "SERVER_IDLE_CLOSED", "UNKNOWN_PEER"],
    ...["append in flight", "complete", "left", "lost", "payload held", "teardown", "unlink", "waiting"],
    ...faults("kill", "killServer", "leave", "reset", "restart", "suspend"),
  ],
  native: [
    ...ofNatives,
    ...ofEndings,
    "local sockets",
    "GONE",
    "STALE_ATTEMPT",
    "WRONG_TARGET",
    "sent before up, and lost",
  ],
  mixed: [...ofNatives, ...ofEndings, "mixed dialect pair"],
  claims: [
    ...ofNatives,
    ...["claimBegun", "claimEnded", "claimRefused", "key held", "key passed on"],
    ...faults("crash", "cut", "rejoin", "setClock", "stall", "suspend", "suspendServer"),
  ],
  oneway: [
    ...ofNatives,
    ...["attempt granted", "grant withdrawn", "grant ignored", "STALE_ATTEMPT"],
    "reverse dial failed, and said so",
    ...["linked by a reverse dial", "relinked by a reverse dial"],
    ...faults("crash", "cut", "firewall", "leave", "rejoin", "stall", "suspend"),
  ],
  released: [
    ...["relink", "broken", "loss reported", "released", "resumed with replay", "stream read to its end"],
    ...["linked without a server", "link ended by a lease without a server", "left with a member that was not told"],
    ...faults("crash", "cut", "leave", "rejoin", "release", "stall", "suspend", "suspendServer"),
  ],
  logs: [
    ...["a server is late", "appended", "published", "rejected", "restored", "servers", "storeBack", "storeLost"],
    ...faults("cutServerFromStore", "killServer", "stopServer", "storeAway", "suspendServer"),
  ],
  shared: [
    ...[
      "found whole",
      "told complete",
      "fenced and rejoined",
      "waiting",
      "full",
      "degraded",
      "serverLost",
      "serverBack",
    ],
    ...["entry joined", "entry left", "entry lost", "entry replaced", "entry claimed", "entry unclaimed", "key held"],
    ...["log: restored", "log: rejected", "log: published", "log: storeLost", "log: storeBack", "STORE_UNAVAILABLE"],
    ...faults("killServer", "suspendServer", "cutServerFromStore", "cutServerFromMembers", "storeAway"),
    ...faults("killMember", "suspendMember", "leave"),
  ],
  restarts: [
    ...ofNatives,
    ...["back in a new log", "serverLost", "serverBack", "fenced and rejoined", "waiting", "mesh forgotten"],
    ...["lost though never listed", "replaced though never listed", "registered at another address"],
    "newcomer beside members that come back",
    ...["key held", "key passed on", "key held through a restart", "claimEnded", "claimRefused"],
    ...["links", "gone", "members", "numbers"].map((what) => `wrong witness: ${what}`),
    "wrong witness lost",
    ...faults("crash", "cut", "leave", "lie", "move", "rejoin", "restartServer", "setClock", "stall", "suspend"),
  ],
};

function faults(...types: readonly string[]): string[] {
  return types.map((type) => `fault: ${type}`);
}
