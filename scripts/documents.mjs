// Writes the generated parts of the documents anew, between `<!-- generated: NAME -->` and `<!-- end -->`, from the
// build in dist/: npm run documents. With --check it changes nothing, names what is stale, and exits with 1 if
// anything is.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { run } from "../dist/simulator/run.js";
import { failureTable } from "../dist/src/core/errors.js";
import { defaultLimits } from "../dist/src/core/limits.js";
import { classicSessionTransitions as memberSession } from "../dist/src/mesh/classic/session.js";
import { grantRules } from "../dist/src/mesh/native/grant-rules.js";
import { helloRules } from "../dist/src/mesh/native/hello-rules.js";
import { acceptorTransitions, ownerTransitions } from "../dist/src/mesh/native/link-states.js";
import { nativeSessionTransitions } from "../dist/src/mesh/native/session.js";
import { nodeMetrics } from "../dist/src/node/metrics.js";
import { callerKindOf } from "../dist/src/protocol/caller-kind.js";
import { controls, entryFields, memberFields } from "../dist/src/protocol/native/control.js";
import { statusFields, statusParts } from "../dist/src/protocol/native/status.js";
import { memberSessionTransitions as serverSession } from "../dist/src/rendezvous/member-session.js";
import { toSequenceDiagram } from "../dist/src/runtime/trace.js";
import { serverMetrics } from "../dist/src/server/http/metrics.js";

const root = new URL("../", import.meta.url);

/** Each generated part by its name. */
const parts = {
  "acceptor states": () => stateDiagram(acceptorTransitions),
  callers: callersTable,
  controls: controlsTables,
  entries: entriesTables,
  errors: errorsTable,
  "grant rules": () =>
    table(
      ["if", "code in the log"],
      grantRules.map(({ when, verdict }) => [when, `\`${verdict}\``]),
    ),
  "hello rules": helloRulesTable,
  limits: limitsTable,
  "member limits": () => limitsOf(memberLimits),
  "member session": () => stateDiagram(memberSession),
  "native session": () => stateDiagram(nativeSessionTransitions),
  "owner states": () => stateDiagram(ownerTransitions),
  sequence: sequenceDiagram,
  status: statusTables,
  "node metrics": () => metricsTable(nodeMetrics),
  "server metrics": () => metricsTable(serverMetrics),
  "server session": () => stateDiagram(serverSession),
};

function table(head, rows) {
  const lines = [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.map(cell).join(" | ")} |`);
  return lines.join("\n").replaceAll("| --- ", "|---").replaceAll("--- |", "---|");
}

function cell(text) {
  return text.replaceAll("|", "\\|").replaceAll(/\s+/g, " ");
}

function mermaid(text) {
  return `\`\`\`mermaid\n${text.trimEnd()}\n\`\`\``;
}

/** The codes that one program sends to another: who sends it, and whether the receiver may try again. */
const onWire = {
  BAD_ADDRESS: ["server", "final"],
  FOREIGN_HOST: ["server", "final"],
  ADDRESS_IN_USE: ["server", "may pass, when the holder is gone"],
  HANDSHAKE_TIMEOUT: ["server, member", "may pass"],
  HELLO_AT_SERVER: ["server", "final"],
  REGISTRATION_AT_NODE: ["member", "final"],
  BUSY: ["server, member", "retryMs"],
  MESH_SEALED: ["server", "may pass, if a member is lost"],
  RELEASED: ["server", "final"],
  BAD_RANK: ["server", "final"],
  LIST_FULL: ["server", "may pass, if a member leaves"],
  BAD_PREFACE: ["member", "final"],
  BAD_FRAME: ["server, member", "final; ends a link that is up"],
  FRAME_TOO_LARGE: ["server, member", "final; ends a link that is up"],
  UNKNOWN_MESSAGE: ["server, member", "final; ends a link that is up"],
  UNEXPECTED_MESSAGE: ["server, member", "final; ends a link that is up"],
  WRONG_DIALECT: ["server, member", "final; on a link, until a new directory lists the id"],
  WRONG_MESH: ["server, member", "final; on a link, until a new directory lists the id"],
  WRONG_ROLE: ["server, member", "final"],
  TOO_MANY_MEMBERS: ["server", "may pass, if a member leaves"],
  TOO_MANY_MESHES: ["server", "may pass, if a mesh ends"],
  ID_IN_USE: ["server", "final for this id"],
  ADDRESS_UNPROVED: ["server", "final for a registration; may pass for a `resume`"],
  LOOPBACK_MIX: ["server", "final"],
  LOCAL_MIX: ["server", "final"],
  FENCED: ["server", "final for this id; join anew with another"],
  UNAWAITED_CHALLENGE: ["member, to the server", "final for that challenge"],
  UNKNOWN_PEER: ["member", "may pass, when its directory lists the caller"],
  PARKING_FULL: ["member", "may pass"],
  WRONG_TARGET: ["member", "until a new directory lists the id"],
  GONE: ["member", "until a new directory lists the id"],
  NOT_OWNER: ["member", "may pass; but the caller must not dial this member"],
  STALE_ATTEMPT: ["member", "may pass, with an attempt above `highest`"],
  SESSION_LOST: ["member", "final; ends the link"],
  SECRET_REQUIRED: ["server, member", "final"],
  NO_DESCRIPTORS: ["server, member", "retryMs"],
  STORE_UNAVAILABLE: ["server", "retryMs"],
  STORE_CORRUPT: ["server", "final for a registration; may pass for a `resume`"],
  STORE_ROLLED_BACK: ["server", "may pass"],
  INCOMPLETE: ["server, to classic members", "final: the mesh has ended"],
  CLAIMED: ["server, in `unclaimable`", "may pass, when the holder gives up"],
  CLAIMS_UNSETTLED: ["server, in `unclaimable`", "may pass, within a claim lease"],
  TOO_MANY_CLAIMS: ["server, in `unclaimable`", "may pass, when claims are given up"],
  TOO_MANY_WAITING: ["server, in `unclaimable`", "may pass, when fewer wait"],
  OVERLOADED: ["peer; member, if it has no room for a message", "may pass"],
  NO_HANDLER: ["peer", "final until the peer handles the topic"],
  HANDLER_FAILED: ["peer", "as the application decides"],
  BAD_VALUE: ["peer", "final for that payload"],
  STREAM_ABORTED: ["peer", "final for that stream"],
  PAYLOAD_CHANGED: ["peer", "final for that stream"],
};

/** One row for each code, in the order of the failure table. */
function errorsTable() {
  const unknown = Object.keys(onWire).filter((code) => !(code in failureTable));
  if (unknown.length > 0) throw new Error(`the failure table has no ${unknown.join(", ")}`);
  const rows = Object.entries(failureTable).map(([code, { connection, level, meaning, remedy }]) => {
    if (connection.startsWith("refused") && !(code in onWire)) throw new Error(`onWire lacks ${code}`);
    const [sender, then] = onWire[code] ?? ["-", "-"];
    return [`\`${code}\``, meaning, remedy, sender, then, connection, level];
  });
  const head = [
    "code",
    "what has happened",
    "what to do",
    "on the wire",
    "then",
    "what happens to the connection",
    "log",
  ];
  return table(head, rows);
}

/** The limits, each with the reason that stands beside its value. */
function limitsTable() {
  const source = readFileSync(new URL("dist/src/core/limits.js", root), "utf8");
  const rows = Object.entries(defaultLimits).map(([name, value]) => {
    const comment = new RegExp(`/\\*\\*((?:(?!\\*/).)*)\\*/\\s*${name}:`, "s").exec(source)?.[1];
    if (comment === undefined) throw new Error(`the limit ${name} has no reason beside it`);
    const reason = comment.replaceAll(/^\s*\* ?/gm, "").trim();
    return [`\`${name}\``, amount(name, value), reason];
  });
  return table(["limit", "value", "meaning and reason"], rows);
}

/** The limits that the smallest native member needs. */
const memberLimits = [
  ...[
    "firstFrameBytes",
    "controlBytes",
    "messageBytes",
    "queueSoftBytes",
    "acknowledgeBytes",
    "acknowledgeMs",
    "probeMs",
    "silentMs",
  ],
  ...["reportMs", "dialMs", "redialMinMs", "redialMaxMs", "parkedMs", "parked", "handshakeMs", "lingerMs", "drainMs"],
];

function limitsOf(names) {
  return table(
    ["limit", "value"],
    names.map((limit) => [`\`${limit}\``, amount(limit, defaultLimits[limit])]),
  );
}

function amount(limit, value) {
  const unit = limit.endsWith("Ms") ? " ms" : limit.endsWith("Bytes") ? " bytes" : "";
  return `${value.toLocaleString("en-US")}${unit}`;
}

/** Who sends which control message to whom, and what for. */
const messagesByDirection = {
  "From a member to the server, on its session": {
    register: "Asks to become a member.",
    resume: "Asks to go on as the member that it was before its session broke.",
    proof: "Returns the nonce of a `challenge`.",
    known: "Behind the `proof` of a `resume`: whom the member knows, and which ids have ended.",
    links: "Reports the links that have changed.",
    measured: "What the links of the member are like, while somebody looks; see *Looking at a pair*.",
    grant: "As the owner of a link: the later end may open its next attempt. The server passes it on as it is.",
    watch: "Asks to be told once when the mesh is complete with at least `size` members.",
    leave: "Leaves the mesh.",
    renew: "Says that the member lives, and holds keys or waits for them.",
    claim: "Asks for a key.",
    unclaim: "Gives up a key, or the wait for it.",
    held: "Names the keys that the member still holds, after it has come back.",
  },
  "From the server to a member, on its session": {
    admitted: "The node is a member.",
    directory: "All members.",
    entries: "The next entries of the log.",
    renewed: "The answer to a `renew`.",
    measure: "Somebody looks at links of the member: it says `measured` so often, or, with 0, not any more.",
    unclaimable: "The key is not granted to the member, which does not wait for it either.",
    leader: "The oldest member that the server has heard within a lease.",
    servers:
      "The other servers that share the log have changed: these are all. See [several servers of one log](#several-servers-of-one-log).",
    waiting: "The mesh is full, and the node waits in line.",
    complete: "Every pair that can be verified is linked.",
    degraded: "Some pairs are not linked.",
    teardown: "The mesh ends.",
    release: "The server goes, and the mesh stays.",
  },
  "From whoever looks at a mesh to the server, and the answer": {
    observe: "Asks for the status of a mesh, now and whenever it has changed.",
    status: "A part of the status; see *Looking at a mesh*.",
  },
  "From whoever asks whether others reach an address, to the server, and the answer": {
    probe: "Asks the server to dial the address, and what a registration of it would be told.",
    probed: "The answer; see *Asking whether an address is reached*.",
  },
  "From the server to a listener, on a connection that the server dials, and the listener's answer": {
    challenge: "Asks the listener to prove that it registers this address with this id.",
    check: "Asks which id listens here.",
    here: "The answer to both: the listener's id.",
  },
  "Between members": {
    hello: "The owner of a link asks that this connection carry it.",
    answer: "The other end agrees.",
    goodbye: "The sender begins nothing more on this link.",
  },
  "From anybody, before closing": {
    refuse: "Says why the connection is refused.",
  },
};

function controlsTables() {
  const described = Object.values(messagesByDirection).flatMap((messages) => Object.keys(messages));
  const undescribed = Object.keys(controls).filter((type) => !described.includes(type));
  if (undescribed.length > 0) throw new Error(`no description of ${undescribed.join(", ")}`);
  const tables = Object.entries(messagesByDirection).map(([title, messages]) => {
    const rows = Object.entries(messages).flatMap(([type, meaning]) => [
      [`\`${type}\``, "", meaning],
      ...fieldRows(controls[type]),
    ]);
    return `**${title}**\n\n${table(["message", "field", "value"], rows)}`;
  });
  return tables.join("\n\n");
}

/** A member, and each kind of entry. */
function entriesTables() {
  const kinds = Object.entries(entryFields).flatMap(([type, fields]) => {
    const own = Object.entries(fields).filter(([name]) => !(name in memberFields) || !("order" in fields));
    const rest = "order" in fields ? [["", "and all fields of the member", ""]] : [];
    return [[`\`${type}\``, "", ""], ...fieldRows(Object.fromEntries(own)), ...rest];
  });
  const member = table(["member", "field", "value"], fieldRows(memberFields));
  return `${member}\n\n${table(["entry", "field", "value"], kinds)}`;
}

/** The status of a mesh, and the rows of its lists. */
function statusTables() {
  const parts = Object.entries(statusParts).flatMap(([name, fields]) => [
    [`\`${name}\``, "", ""],
    ...fieldRows(fields),
  ]);
  const whole = table(["status", "field", "value"], fieldRows(statusFields));
  return `${whole}\n\n${table(["part", "field", "value"], parts)}`;
}

function metricsTable(metrics) {
  const rows = Object.entries(metrics).map(([name, { type, help }]) => [`\`${name}\``, type, help]);
  return table(["series", "type", "what it says"], rows);
}

function fieldRows(fields) {
  return Object.entries(fields).map(([name, field]) => [
    "",
    `\`${name}\`${"isOptional" in field ? " ?" : ""}`,
    field.describes,
  ]);
}

function helloRulesTable() {
  const rows = helloRules.map(({ when, verdict }) => [when, verdict === "park" ? "*park*" : `\`${verdict}\``]);
  return table(["if", "then"], rows);
}

/** What becomes of each caller at a server and at a node. */
const receptions = {
  registration: ["read on as a registration", "`REGISTRATION_AT_NODE`"],
  hello: ["`HELLO_AT_SERVER`", "read on as a hello"],
  native: ["read on as the native dialect", "read on as the native dialect"],
  tls: ["the handshake, with a secret; `TLS_HELLO` without", "the same"],
  http: ["`HTTP_REQUEST`", "`HTTP_REQUEST`"],
  stranger: ["`BAD_ADDRESS`", "`BAD_HELLO`"],
};

/** Which first bytes mean which caller, asked of `callerKindOf` for every byte and, where one is not enough, every second one. */
function callersTable() {
  const openings = Object.fromEntries(Object.keys(receptions).map((caller) => [caller, []]));
  const bytes = Array.from({ length: 256 }, (_, byte) => byte);
  for (const first of bytes) {
    const caller = callerKindOf(first, undefined);
    if (caller !== undefined) openings[caller].push(name(first));
    else for (const second of bytes) openings[callerKindOf(first, second)].push(name(first) + name(second));
  }
  const rows = Object.entries(receptions).map(([caller, [atServer, atNode]]) => {
    const isRest = caller === "stranger";
    return [isRest ? "anything else" : ranges(openings[caller]), caller, atServer, atNode];
  });
  return table(["first bytes", "caller", "at the server", "at a node"], rows);
}

function name(byte) {
  return byte > 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `0x${byte.toString(16).padStart(2, "0")}`;
}

/** Digits as a range, everything else one by one. */
function ranges(openings) {
  const digits = openings.filter((opening) => /^\d$/.test(opening));
  const others = openings.filter((opening) => !digits.includes(opening)).map((opening) => `\`${opening}\``);
  return [...(digits.length === 0 ? [] : [`\`${digits[0]}\` to \`${digits.at(-1)}\``]), ...others].join(", ");
}

/** A transition table as a diagram. It begins in its first state; a state that leads only to itself is the last one. */
function stateDiagram(transitions) {
  const states = Object.entries(transitions);
  const lines = states.flatMap(([state, events]) => {
    const leavings = Object.entries(events).filter(([, next]) => next !== state);
    const arrows = leavings.map(([event, next]) => `    ${state} --> ${next}: ${event}`);
    return arrows.length === 0 ? [`    ${state} --> [*]`] : arrows;
  });
  return mermaid(["stateDiagram-v2", `    [*] --> ${states[0][0]}`, ...lines].join("\n"));
}

/** Three members join, one after the other, on a network on which nothing goes wrong. */
function sequenceDiagram() {
  const scenario = {
    scripts: [8080, 9000, 7000].map((port, index) => ({
      address: `10.0.0.${index + 1}:${port}`,
      startsAt: index * 300,
      hesitatesMs: 0,
    })),
    capacity: 3,
    onFull: "teardown",
    logDelayMs: 0,
    conditions: { delayMs: 1, split: 0, splitGapMs: 0, merge: 0, dialLoss: 0 },
    faults: [],
    // Members write to one another until then: not at all.
    healsAt: 1,
    isCalm: true,
    isPrompt: true,
  };
  const { messages, violations } = run(1, { keepsTrace: true, scenario });
  if (violations.length > 0) throw new Error(`the run of the diagram breaks ${JSON.stringify(violations[0])}`);
  return mermaid(toSequenceDiagram(messages));
}

const marked = /(<!-- generated: ([a-z ]+) -->\n)(.*?)(<!-- end -->)/gs;

/** The document with its parts up to date, and the names of those that were stale. */
function regenerate(text, used) {
  const stale = [];
  const fresh = text.replaceAll(marked, (_, begin, part, old, end) => {
    const generate = parts[part];
    if (generate === undefined) throw new Error(`nothing generates the part "${part}"`);
    used.add(part);
    const content = `\n${generate()}\n\n`;
    if (content !== old) stale.push(part);
    return `${begin}${content}${end}`;
  });
  return { fresh, stale };
}

const { values } = parseArgs({ options: { check: { type: "boolean", default: false } } });
const used = new Set();
const inDocs = readdirSync(new URL("docs/", root), { recursive: true }).map((file) => `docs/${file}`);
const documents = [...readdirSync(root), ...inDocs].filter((file) => file.endsWith(".md"));
for (const document of documents) {
  const path = fileURLToPath(new URL(document, root));
  const { fresh, stale } = regenerate(readFileSync(path, "utf8"), used);
  if (stale.length === 0) continue;
  if (!values.check) writeFileSync(path, fresh);
  for (const part of stale) {
    process.stdout.write(`${document}: ${part} ${values.check ? "is stale; npm run documents" : "written"}\n`);
  }
  if (values.check) process.exitCode = 1;
}
for (const part of Object.keys(parts).filter((candidate) => !used.has(candidate))) {
  process.stdout.write(`no document has the part "${part}"\n`);
  process.exitCode = 1;
}
