/**
 * Every failure by its code: its log level, what it means, what happens to the connection on which it occurred, and the
 * remedy. docs/errors.md prints this table.
 */

import { harmless } from "./escaping.js";

/** `error`: this process cannot go on. `warn`: somebody should look. `info`: happens in a healthy mesh now and then. */
export type LogLevel = "info" | "warn" | "error";

interface Failure {
  readonly level: LogLevel;
  readonly meaning: string;
  readonly connection: string;
  readonly remedy: string;
}

/** What happens to most connections that are refused. */
const refused = "refused with the reason, half-closed, closed within 1 s";

const failures = {
  // What a server may receive.
  BAD_ADDRESS: {
    level: "warn",
    meaning: "A registration is not `<ip>:<port>` with a literal IP address and a port from 1 to 65535.",
    connection: refused,
    remedy: "Send an IP address, not a host name, without a zone, and a decimal port without leading zeros.",
  },
  FOREIGN_HOST: {
    level: "warn",
    meaning: "A registration names another host than the one that its connection comes from.",
    connection: refused,
    remedy: "Register the address that you connect from, or start the server with --allow-advertise for that network.",
  },
  ADDRESS_IN_USE: {
    level: "warn",
    meaning: "A member with a live connection already has this address.",
    connection: `${refused}; the member is not affected`,
    remedy: "Choose another port, or wait until that member is gone.",
  },
  SECOND_REGISTRATION: {
    level: "warn",
    meaning: "A second registration came on a connection that has registered.",
    connection: "kept; the second registration is ignored",
    remedy: "Use one connection to the server for each member.",
  },
  EXTRA_BYTES: {
    level: "warn",
    meaning: "Bytes came after the registration of a classic member.",
    connection: "kept; the bytes are ignored",
    remedy: "Send the server nothing after the registration. Members talk to one another directly.",
  },
  NOTHING_SAID: {
    level: "info",
    meaning: "A caller closed its connection before it had sent a registration or a hello.",
    connection: "closed",
    remedy: "None needed. Port scanners and health checks do this.",
  },
  HANDSHAKE_TIMEOUT: {
    level: "warn",
    meaning: "A caller did not send its registration or hello in time.",
    connection: "half-closed, closed within 1 s; a caller whose dialect is known gets the reason first",
    remedy: "Send the registration, or the hello, right after connecting.",
  },
  HTTP_REQUEST: {
    level: "warn",
    meaning: "An HTTP request came to a port that does not speak HTTP.",
    connection: "answered with 400 Bad Request, half-closed, closed within 1 s",
    remedy: "Point the browser or the health check at another port.",
  },
  TLS_HELLO: {
    level: "warn",
    meaning: "A TLS handshake came to a port that speaks plain text.",
    connection: "answered with a TLS alert, half-closed, closed within 1 s",
    remedy: "Give both ends the same secret, or neither. The classic dialect has no encryption.",
  },
  HELLO_AT_SERVER: {
    level: "warn",
    meaning: "A member dialed the server as if it were another member.",
    connection: refused,
    remedy: "Find the member that has registered the server's address as its own, and let it register its own.",
  },
  BUSY: {
    level: "warn",
    meaning: "Too many connections, in all or from this host, have not registered yet.",
    connection:
      "refused with the reason and a time to come back, once its dialect is known; half-closed, closed within 1 s",
    remedy:
      "Try again in a few seconds; members of ours do. If it lasts, raise the open-file limit (ulimit -n) of the process that refuses.",
  },
  MESH_SEALED: {
    level: "warn",
    meaning: "The mesh has as many members as its capacity, and ends when all of them are linked.",
    connection: refused,
    remedy: "Try again, in case a member is lost, or start a server with a larger --capacity or with --on-full hold.",
  },
  RELEASED: {
    level: "info",
    meaning:
      "The server has left the mesh to its members: nobody joins, nothing is claimed, and nobody says any more that it is whole.",
    connection: refused,
    remedy: "Start a new server for a new mesh. Members that were released go on with the links that they have.",
  },
  CLASSIC_MEMBERS: {
    level: "error",
    meaning:
      "A mesh with classic members cannot be released: they take the end of their server for the end of the mesh.",
    connection: "kept; the server goes on",
    remedy: "End the classic members first, serve with dialect native, or end the mesh with teardown.",
  },
  BAD_RANK: {
    level: "warn",
    meaning: "A program without a rank of this run registered at the server of `fullmesh run`.",
    connection: refused,
    remedy: "Start the program with fullmesh run and call join() without an address; it reads its rank.",
  },
  LIST_FULL: {
    level: "warn",
    meaning: "With this member the list would be longer than a classic member accepts.",
    connection: refused,
    remedy: "Split the members over several servers.",
  },
  LIST_LONG: {
    level: "warn",
    meaning: "The list is longer than 1,000 bytes, and simple classic programs read 1,024 at a time.",
    connection: "kept; noted once",
    remedy: "Check that every member can read more than 1,024 bytes at a time, or keep the mesh below 46 members.",
  },
  REGISTRATION_REVISED: {
    level: "warn",
    meaning: "More digits of a port came late, so a classic registration was corrected.",
    connection: "kept; the old address leaves the directory, and the corrected one joins",
    remedy: "Listen on a port from 6554 on: no such port is the beginning of another one.",
  },

  // What a member may find at its server.
  SERVER_UNREACHABLE: {
    level: "error",
    meaning: "The server could not be reached.",
    connection: "not opened",
    remedy: "Check the address, and that the server is running (fullmesh serve).",
  },
  SERVER_VANISHED: {
    level: "error",
    meaning: "The server is gone: the connection broke before this node was admitted, or no new one came in time.",
    connection: "closed; the node ends",
    remedy: "Look for the reason in the server's log, then join again.",
  },
  SERVER_AWAY: {
    level: "warn",
    meaning: "The connection to the server broke. The links are kept.",
    connection: "closed; the node dials again, with growing pauses, and resumes its session",
    remedy: "Check that the server still runs. The mesh goes on without it, but nobody can join.",
  },
  SERVER_AWAITED: {
    level: "warn",
    meaning:
      "The server is not there yet, or closed the connection before this node was admitted. Logged once for each of its addresses.",
    connection: "closed, or not opened; the node dials again, with growing pauses, until its time for joining is over",
    remedy: "None needed if the server is about to start. Otherwise check the address, and that the server is running.",
  },
  SERVER_BUSY: {
    level: "warn",
    meaning: "The server cannot admit this node now, and has said when to try again.",
    connection: "closed; the node registers on a new one, no earlier than the server has said",
    remedy: "None needed. If it lasts, look for the reason in the server's log.",
  },
  SERVER_IDLE_CLOSED: {
    level: "info",
    meaning: "The server closed a connection on which nothing had been registered.",
    connection: "closed; registering opens a new one",
    remedy: "None needed.",
  },
  REFUSED: {
    level: "error",
    meaning: "The server refused the registration, or answered with something that is no list.",
    connection: "closed; the node ends",
    remedy: "Read the server's reason in the message. If it makes no sense, this may not be a rendezvous server.",
  },
  NOT_LISTED: {
    level: "warn",
    meaning: "A list from the server does not have this node's own address.",
    connection: "kept; nobody is dialed because of that list",
    remedy: "Compare the address that this node advertises with the ones that the server lists.",
  },
  LIST_DUPLICATE: {
    level: "warn",
    meaning: "A list from the server names an address twice.",
    connection: "kept; the first of the two counts",
    remedy: "Report it to whoever wrote the server: a list names each address once.",
  },
  BAD_LIST: {
    level: "warn",
    meaning: "An entry of a list from the server is not an address.",
    connection: "kept; the entry is skipped",
    remedy: "Check the server's address. If it is right, report it to whoever wrote the server.",
  },
  LIST_TOO_LONG: {
    level: "error",
    meaning: "A list from the server is longer than a classic member accepts.",
    connection: "closed; the node ends",
    remedy: "Split the members over several servers.",
  },
  LIST_REVISED: {
    level: "warn",
    meaning: "More digits of a port came late, so the end of a list was corrected.",
    connection: "kept; a dial to the wrong address is given up",
    remedy: "Let members listen on ports from 6554 on.",
  },

  // What a member may receive from others.
  BAD_HELLO: {
    level: "warn",
    meaning: "A caller did not begin with `Hello from:<ip>:<port>`.",
    connection: "closed",
    remedy: "Check what connects to this port. Only members of the mesh should.",
  },
  REGISTRATION_AT_NODE: {
    level: "warn",
    meaning: "A registration came to a member instead of the server.",
    connection: refused,
    remedy: "Give the joining program the server's address, not a member's.",
  },
  UNKNOWN_PEER: {
    level: "warn",
    meaning: "The directory lists no such member: a hello came from it, or something was to be sent to it.",
    connection: "a hello is kept for 5 s, then refused or closed",
    remedy:
      "Check that the other program has joined this mesh, and its address or name. `node.members` has those that are listed.",
  },
  PARKING_FULL: {
    level: "warn",
    meaning: "Too many hellos wait for a directory that lists their senders.",
    connection: "native: refused; classic: closed",
    remedy: "Look at what connects to this port: somebody uses addresses or ids that are not in the mesh.",
  },
  HELLO_FROM_SELF: {
    level: "warn",
    meaning: "A classic hello has this node's own address.",
    connection: "closed",
    remedy: "Give each program its own port: two of them use the same address.",
  },
  WRONG_DIRECTION: {
    level: "warn",
    meaning: "A classic hello comes from a member that joined later. The earlier one dials.",
    connection: "closed; the link that this node dials is not affected",
    remedy: "Correct the other program: it must dial the members after it, not those before it.",
  },
  ALREADY_LINKED: {
    level: "warn",
    meaning: "A second classic hello came from a peer whose link is up.",
    connection: "closed; the first link is not affected",
    remedy:
      "None needed if the peer's connection broke at its end only: it tries again. Otherwise correct the peer, which dials twice.",
  },
  DIAL_FAILED: {
    level: "warn",
    meaning: "The address of a member refused the connection, or could not be reached.",
    connection: "not opened; dialed again, with growing pauses, while the member is listed",
    remedy: "Check that the member still runs, and that its port is open to this host.",
  },
  NO_LINK: {
    level: "warn",
    meaning:
      "A link has not been up for `brokenMs`, and the directory lists the peer still: it lives, and cannot be reached from here.",
    connection: "none; the owner of the link dials again, with growing pauses, while the member is listed",
    remedy:
      "Look for what keeps the two apart: a firewall between their hosts, or an advertised address that is not reachable from here. The event `degraded` says which pairs are missing. Stop sending to the peer until `peer:up` or `peer:back`, if messages that wait are of no use later.",
  },
  DIAL_TIMEOUT: {
    level: "warn",
    meaning: "The address of a member did not answer in time.",
    connection: "given up; dialed again, with growing pauses, while the member is listed",
    remedy:
      "Look for a firewall that drops packets between the two hosts, or a suspended process. While many dials are slow, the oldest are given up earlier.",
  },
  NO_DESCRIPTORS: {
    level: "warn",
    meaning: "The process has no file descriptor left for another connection.",
    connection:
      "dialing: not opened, dialed again with growing pauses; accepting: refused with the reason and a time to come back, or closed at once",
    remedy: "Raise the open-file limit (ulimit -n) of the process that logs this.",
  },
  SELF_CONNECT: {
    level: "warn",
    meaning: "A dial connected to itself: nobody listens at the address, and TCP used the same port for both ends.",
    connection: "closed; dialed again, with growing pauses, while the member is listed",
    remedy: "Listen on ports below the ephemeral range (32768 on Linux).",
  },
  TOO_SLOW: {
    level: "warn",
    meaning: "The other side did not read in time what was sent to it before the end.",
    connection: "closed; what was not sent is lost",
    remedy: "Find out why that program does not read.",
  },

  // What the native dialect adds.
  BAD_PREFACE: {
    level: "warn",
    meaning: "A connection begins like the native dialect, but not with its preface.",
    connection: "a member: refused; a server: half-closed; closed within 1 s",
    remedy: "Check what connects to this port.",
  },
  VERSION_MISMATCH: {
    level: "error",
    meaning: "The two ends have no version of the native dialect in common.",
    connection: "answered with the versions of this end, half-closed, closed within 1 s",
    remedy: "Run the same major version of fullmesh on both ends.",
  },
  BAD_FRAME: {
    level: "warn",
    meaning: "A frame is malformed.",
    connection: refused,
    remedy: "Compare the sender with docs/protocol/native.md and the vectors.",
  },
  FRAME_TOO_LARGE: {
    level: "warn",
    meaning: "A frame announces more bytes than are allowed at this point.",
    connection: `${refused}, before memory is taken`,
    remedy: "Send smaller messages, or raise `limits.messageBytes` on all members.",
  },
  UNKNOWN_MESSAGE: {
    level: "warn",
    meaning: "A message has a type or kind that this version does not know, and may not be ignored.",
    connection: refused,
    remedy: "Run the same version of fullmesh on both ends.",
  },
  UNEXPECTED_MESSAGE: {
    level: "warn",
    meaning: "A message came that is not allowed on this connection or at this point.",
    connection: refused,
    remedy: "Compare the sender with docs/protocol/native.md.",
  },
  WRONG_DIALECT: {
    level: "warn",
    meaning: "The caller speaks a dialect that is not spoken here.",
    connection: refused,
    remedy: "Compare --dialect on both ends. Native and classic members meet on a server with --dialect any.",
  },
  WRONG_MESH: {
    level: "warn",
    meaning: "The caller belongs to another mesh.",
    connection: refused,
    remedy: "Compare --mesh on both ends.",
  },
  TOO_MANY_MEMBERS: {
    level: "warn",
    meaning: "The mesh, or the server, has as many members as it may have.",
    connection: refused,
    remedy: "Split the members over several meshes or servers, or start the server with a larger --capacity.",
  },
  TOO_MANY_MESHES: {
    level: "warn",
    meaning: "The server has as many meshes as it may have, and was asked for another one.",
    connection: refused,
    remedy: "Use an existing mesh, or another server.",
  },
  CLAIMED: {
    level: "info",
    meaning: "Another member holds the key, or waits for it.",
    connection: "kept",
    remedy: "Wait for it (without `wait: false`), or leave the work to the holder.",
  },
  CLAIMS_UNSETTLED: {
    level: "info",
    meaning: "The server does not know yet who holds which key: it has just started, or is away.",
    connection: "kept",
    remedy: "Try again after 10 s, or wait for the key (without `wait: false`).",
  },
  TOO_MANY_CLAIMS: {
    level: "warn",
    meaning: "The member, the mesh or the server has as many claims as it may.",
    connection: "kept",
    remedy: "Release what is not needed, use fewer keys, or split the members over several meshes.",
  },
  TOO_MANY_WAITING: {
    level: "warn",
    meaning: "As many members as may wait for keys of this mesh wait already.",
    connection: "kept",
    remedy: "Let fewer members wait for each key: two or three are enough for a takeover.",
  },
  CLAIM_LOST: {
    level: "warn",
    meaning: "This node cannot be sure any more that it holds the key.",
    connection: "kept",
    remedy: "Stop what only the holder may do; claim the key again to go on.",
  },
  STORE_UNAVAILABLE: {
    level: "warn",
    meaning:
      "The membership log did not accept the new member, or has not answered: it cannot be reached, or other servers keep taking the place.",
    connection: "refused with the reason and a time to come back, half-closed, closed within 1 s",
    remedy:
      "Try again after the time that the refusal names; members of ours do. At the server, check that an endpoint in the URL of --store answers, and whether it wants TLS (etcd+https).",
  },
  STORE_REFUSED: {
    level: "error",
    meaning:
      "The store does not take this server: its user name and password, or its certificate, are not those that the store wants, or it may not read and write there.",
    connection: "closed; the server ends if it was starting, else it goes on trying",
    remedy:
      "Give the user and the password in the URL of --store, with the client certificate that etcd asks for, and grant that user reading and writing of all keys below the prefix.",
  },
  STORE_TOO_OLD: {
    level: "error",
    meaning:
      "The store is no etcd from version 3.4 on: its JSON interface, or its answer about its version, is another one.",
    connection: "closed; the server ends",
    remedy: "Run etcd 3.4 or later, and name its client port, usually 2379, in the URL of --store.",
  },
  STORE_MISMATCH: {
    level: "error",
    meaning: "The servers of this store serve with other options: all of them must have the same.",
    connection: "closed; the server ends",
    remedy:
      "Start the server with the options that the message names, or under another prefix. Other options take effect when all servers of the store have been stopped.",
  },
  STORE_ADDRESS_IN_USE: {
    level: "error",
    meaning:
      "Another server of this store says that members reach it at the same address, and goes on living: members would be sent to either of them. The one that came later ends.",
    connection: "closed; the server ends",
    remedy:
      "Give each server of a store an address of its own with --advertise. If the other one is to be replaced, stop it first.",
  },
  STORE_CORRUPT: {
    level: "error",
    meaning: "A key below the prefix of the store holds something that no fullmesh server has written.",
    connection: "refused with the reason if it is for that mesh; sessions that are there and other meshes go on",
    remedy:
      "Give the URL of --store a prefix that nothing else uses. Otherwise find out what wrote the key that the message names; delete the keys of that mesh to begin it anew.",
  },
  STORE_ROLLED_BACK: {
    level: "error",
    meaning:
      "The store has lost what it had acknowledged: another cluster answers, or it was restored from a backup, so names and tokens may be given twice.",
    connection: "closed; the server ends; one that was started since refuses members that have read more",
    remedy:
      "Stop all servers of this store, delete the keys below the prefix, and start the servers again: members that still run bring back what they know.",
  },
  ID_IN_USE: {
    level: "warn",
    meaning: "A registration uses the id of another member.",
    connection: `${refused}; the member is not affected`,
    remedy: "Draw 128 new random bits at each join.",
  },
  ADDRESS_UNPROVED: {
    level: "warn",
    meaning: "The server dialed the address that a member advertises, and did not find that member there.",
    connection: refused,
    remedy: "Advertise an address at which the server and the other members can reach this one. Look for a firewall.",
  },
  LOOPBACK_MIX: {
    level: "warn",
    meaning: "This address is on loopback and the mesh is not, or the reverse.",
    connection: refused,
    remedy: "Let all members reach the server in the same way: all by 127.0.0.1, or all over the network.",
  },
  LOCAL_MIX: {
    level: "warn",
    meaning: "A mesh is all on local sockets or not at all, and this address is of the other kind.",
    connection: refused,
    remedy:
      "Let the server and all members have addresses of one kind: all `unix:/path`, or all an IP address and a port. Leave `listen` away, and a member listens in the way it has reached the server.",
  },
  LOOPBACK_NAME: {
    level: "warn",
    meaning: "The server's name leads to loopback, which is on every machine that machine itself.",
    connection: "none; `fullmesh doctor` reports it",
    remedy: "Give the server's address on the network, or correct the line of its name in /etc/hosts.",
  },
  FENCED: {
    level: "warn",
    meaning:
      "The mesh has removed this node: the server had not heard it for a lease, and no member said that its link with it was alive, or another program came at its address. Its id is never taken back.",
    connection: "closed, as are all links; the node joins again with a new id",
    remedy:
      "None needed. Messages between that removal and the new id are missing here: clear caches at the event `fenced`. If it happens often, find out what suspends the process or cuts its network.",
  },
  ADDRESS_SHARED: {
    level: "warn",
    meaning:
      "Two programs answer at one address, such as that of a load balancer, and keep replacing each other in the mesh.",
    connection: "closed; the program that was replaced joins again after a pause that grows",
    remedy:
      "Advertise an address that reaches one program only: that of a pod or a container, not that of a load balancer or a Kubernetes Service.",
  },
  GRANT_DROPPED: {
    level: "warn",
    meaning: "A member asks others to dial it more often than the server passes on.",
    connection: "kept; the grant runs out at its owner, which dials the other member itself",
    remedy: "Find out why that member cannot dial the others: a firewall in front of it, or a wrong route.",
  },
  KNOWN_IGNORED: {
    level: "warn",
    meaning: "Members that came back name more members, or more ids that have ended, than the server takes in.",
    connection: "kept; what is too much is ignored",
    remedy: "None needed, unless a member makes ids up: its program is faulty.",
  },
  UNAWAITED_CHALLENGE: {
    level: "warn",
    meaning: "A server asked this node to prove a registration that it has not made.",
    connection: refused,
    remedy: "Look for a program that registers this node's address as its own.",
  },
  WRONG_TARGET: {
    level: "info",
    meaning: "A hello is for another id than that of the node that listens here.",
    connection: refused,
    remedy: "None needed. The caller has not read yet that a node was restarted.",
  },
  GONE: {
    level: "info",
    meaning: "A hello comes from a member that was removed, or whose link has ended.",
    connection: refused,
    remedy: "None needed. A member that was removed joins again when it learns so.",
  },
  NOT_OWNER: {
    level: "warn",
    meaning: "A hello comes from a member that joined later. The earlier one owns the link, and dials.",
    connection: refused,
    remedy: "Correct the other program: it must dial the members after it, not those before it.",
  },
  STALE_ATTEMPT: {
    level: "info",
    meaning: "A hello, or a grant, has an older attempt than the newest one of its link.",
    connection:
      "refused with the highest attempt, half-closed, closed within 1 s; the present connection is not affected",
    remedy: "None needed. The owner goes on with a higher attempt.",
  },
  SESSION_LOST: {
    level: "error",
    meaning: "The two ends of a link do not agree on which messages were delivered.",
    connection: `${refused}; the link ends`,
    remedy: "Restart the other program. If it keeps its id when it restarts, correct it: it must draw a new one.",
  },
  PAYLOAD_CHANGED: {
    level: "error",
    meaning: "The memory of a payload was transferred or resized while it was still needed.",
    connection: `${refused}; the link ends, or only the stream, if its frame was not begun`,
    remedy:
      "From 4 KiB on payloads are not copied: leave them as they are until the peer has them, or send a copy. Received bytes may share memory with others: transfer a copy.",
  },
  SILENT: {
    level: "warn",
    meaning: "Nothing came from the other end for too long, though it was pinged.",
    connection: "closed; the owner of a link dials again",
    remedy: "Look for a cut network, or a suspended or overloaded process at the other end.",
  },
  INCOMPLETE: {
    level: "warn",
    meaning: "The mesh ended before it was complete: members were missing, or pairs of them were not linked.",
    connection: "closed, as at every end of a mesh",
    remedy:
      "Look at the members, pairs and reasons in the message: a program may have died, or a host cannot reach another one.",
  },
  SECRET_REQUIRED: {
    level: "warn",
    meaning: "The caller speaks plain text, and this port takes only connections that prove the secret.",
    connection: refused,
    remedy: "Give the caller the secret (--secret-file or FULLMESH_SECRET). Classic programs cannot have one.",
  },
  SECRET_MISMATCH: {
    level: "warn",
    meaning: "The other side has another secret, or does not accept this mesh or role. It does not say which.",
    connection: "closed in the handshake",
    remedy: "Give both ends the same secret.",
  },
  SECRET_NOT_USED: {
    level: "warn",
    meaning: "This side proves a secret, and the other side uses none.",
    connection: "closed in the handshake",
    remedy:
      "Start the other side with the same secret (--secret-file or FULLMESH_SECRET), or leave it out on this side.",
  },
  SECRET_UNPROVED: {
    level: "warn",
    meaning: "The other side did not prove the secret: it used a certificate, a ticket or recorded bytes.",
    connection: "closed in the handshake",
    remedy: "Check the address: what answers there is not fullmesh, or pretends to be.",
  },
  WRONG_IDENTITY: {
    level: "warn",
    meaning:
      "The other side named a TLS identity that is not accepted here: another mesh, another role, or none of fullmesh.",
    connection: "closed in the handshake",
    remedy: "Compare --mesh on both ends, and check which port is the server's.",
  },
  WRONG_ROLE: {
    level: "warn",
    meaning:
      "A message came on a connection whose key is for another purpose: a member's on the server's, or the reverse.",
    connection: refused,
    remedy: "Find out which host this is: a member pretends to be the server, or the reverse.",
  },
  BAD_SECRET: {
    level: "error",
    meaning: "The secret is not 32 random bytes in base64url.",
    connection: "none",
    remedy: "Make one with `fullmesh secret`. A shorter one could be guessed from a recorded handshake.",
  },
  SECRET_UNSUPPORTED: {
    level: "error",
    meaning:
      "This JavaScript runtime has no pre-shared keys in TLS, by which a secret is proved: Bun, Deno and Electron.",
    connection: "none",
    remedy: "Run the program with Node.js, or leave out the secret to go on in plain text.",
  },
  SECRET_FILE: {
    level: "error",
    meaning: "The file with the secret cannot be read.",
    connection: "none",
    remedy: "Check the path and who may read it. `fullmesh secret > FILE` makes a new one.",
  },
  CLASSIC_PEER: {
    level: "error",
    meaning: "This peer speaks the classic dialect, which has bytes and no messages.",
    connection: "kept; nothing was sent",
    remedy: "Use `write` for classic peers.",
  },
  NATIVE_PEER: {
    level: "error",
    meaning: "This peer speaks the native dialect, which has messages and no bare bytes.",
    connection: "kept; nothing was sent",
    remedy: "Use `send` for native peers.",
  },
  MESSAGE_TOO_LARGE: {
    level: "error",
    meaning: "A message is longer than a peer accepts.",
    connection: "kept; nothing was sent",
    remedy: "Send it in parts, or raise `limits.messageBytes` on all members.",
  },
  NO_HANDLER: {
    level: "info",
    meaning: "The peer has no handler for requests, or streams, of this topic.",
    connection: "kept",
    remedy: "Call `onRequest` or `onStream` with that topic at the peer, in `setup`. Compare the spelling.",
  },
  HANDLER_FAILED: {
    level: "error",
    meaning: "A handler or listener of the application threw an error.",
    connection: "kept",
    remedy:
      "Look for the same message in the log of the program that threw it: its stack is there. Correct that handler.",
  },
  HANDLER_REFUSED: {
    level: "info",
    meaning: "A request handler threw an error with a code of its own, as an answer that the application foresees.",
    connection: "kept; the request fails with that error",
    remedy:
      "Handle this code where the request is made: the application at the peer has chosen it. Its log has the stack, at the level info.",
  },
  OVERLOADED: {
    level: "warn",
    meaning:
      "The peer has as many requests or streams of this node as it may have, or holds too much for all its peers.",
    connection:
      "kept; if a message finds no room it is refused, and the owner of the link dials again, with growing pauses",
    remedy: "Send less at once, or try again later. The peer's program must take what has come.",
  },
  PEER_DOWN: {
    level: "info",
    meaning: "The link with the peer ended before the request or stream did.",
    connection: "ended with the link",
    remedy: "Ask another peer, or the same one when it is back. The peer may have done what was asked, or not.",
  },
  MEMBER_LOST: {
    level: "error",
    meaning: "A member left or was lost before all had arrived at a barrier or an allGather.",
    connection: "kept",
    remedy: "End, or begin the step again when the member is back; what the others have done meanwhile is not known.",
  },
  STREAM_ABORTED: {
    level: "info",
    meaning: "One end has aborted the stream.",
    connection: "kept",
    remedy: "Read the cause of the error, and open another stream to try again.",
  },
  BAD_VALUE: {
    level: "warn",
    meaning:
      "A payload is not a value that can be sent or read, takes too much memory, or does not fit the schema of its topic.",
    connection: "kept; a message is dropped, a request fails",
    remedy:
      "Send bytes, or what JSON can express, plus bytes and dates: nothing circular, nothing nested deeper than 100. Send large values in parts, or as bytes. Compare the contracts of both ends.",
  },

  // What the calling program or this machine may get wrong.
  BAD_OPTION: {
    level: "error",
    meaning: "An argument or option has a value that it cannot take, or a name that there is not.",
    connection: "none",
    remedy:
      "Change the call at the top of the stack: the message names the argument, what it may be, and what it was. docs/api.md lists all options.",
  },
  WRONG_STEP: {
    level: "error",
    meaning: "A call came before the one that it needs, or twice; or a topic has a handler already.",
    connection: "none",
    remedy:
      "Make the calls in the order that docs/api.md gives, each once. A topic has one handler: call the function that `onRequest` or `onStream` has returned before you set another.",
  },
  PORT_IN_USE: {
    level: "error",
    meaning: "Another program listens on this port.",
    connection: "none",
    remedy: "Choose another port, port 0 for any free one, or end the program that has it.",
  },
  NOT_OUR_ADDRESS: {
    level: "error",
    meaning: "This machine does not have the address to listen on.",
    connection: "none",
    remedy: "Listen on an address of this machine (ip addr shows them) or on 127.0.0.1.",
  },
  LISTEN_FAILED: {
    level: "error",
    meaning: "The system does not allow listening on this address and port.",
    connection: "none",
    remedy: "Choose a port from 1024 on: lower ones need privileges.",
  },
  PATH_TOO_LONG: {
    level: "error",
    meaning: "The path of a local socket is longer than the system takes: 107 bytes on Linux, 103 elsewhere.",
    connection: "none",
    remedy: "Choose a shorter path, such as unix:/run/user/1000/app/mesh.sock or unix:/tmp/app/mesh.sock.",
  },
  PATH_IN_USE: {
    level: "error",
    meaning: "A process listens on this local socket, or something else is at its path.",
    connection: "none",
    remedy:
      "Choose another path, or end the process that listens there: `ss -xlp` shows it. A file that is no socket is never replaced; move it away yourself.",
  },
  UNSAFE_FOLDER: {
    level: "error",
    meaning:
      "The folder of a local socket is not this user's alone, so others could connect or put a socket of their own there.",
    connection: "none",
    remedy:
      "Put the socket into a folder that belongs to the user of this process and has the mode 0700, such as `mkdir -m 700 /tmp/app`. One that does not exist is created so.",
  },
  NO_LOCAL_SOCKETS: {
    level: "error",
    meaning: "Siblings need local sockets that only one user can reach, and this system has none.",
    connection: "none",
    remedy: "Start `fullmesh serve`, and join its address on 127.0.0.1 in each process.",
  },
  NO_SIBLINGS: {
    level: "error",
    meaning: "No process of this user calls `siblings` with this name on this host, or it looks in another place.",
    connection: "none",
    remedy:
      "Start the processes, or run this command as their user, in their network namespace and with their TMPDIR: `ss -xl | grep fullmesh` lists what there is.",
  },
  SIBLINGS_BLOCKED: {
    level: "error",
    meaning:
      "A process holds the socket at which siblings of this name meet, and does not answer there as their server.",
    connection: "none",
    remedy:
      "The message names the process: if it hangs, end it, and another sibling serves. If it is none of yours, end it or take another name.",
  },
  INSECURE_LISTEN: {
    level: "error",
    meaning: "Listening beyond loopback without a secret would let anyone on the network join and read.",
    connection: "none",
    remedy:
      "Give the server and its members a secret (--secret-file, `secret`), or listen on 127.0.0.1. Use --insecure only on a network that you trust.",
  },
  SECRET_IN_CLASSIC: {
    level: "error",
    meaning: "A secret is set, and the classic dialect cannot use it.",
    connection: "none",
    remedy: "Remove the secret (FULLMESH_SECRET, --secret-file) to go on in plain text.",
  },
  QUEUE_FULL: {
    level: "error",
    meaning: "More bytes or requests than the limit wait for a peer that does not take them.",
    connection: "kept; nothing was taken",
    remedy: "Wait for `drain` after `send` or `write` has returned false. Await replies before you send more requests.",
  },
  NOT_LINKED: {
    level: "error",
    meaning: "The link with this peer is ending or has ended.",
    connection: "none",
    remedy: "Send nothing to a peer that leaves, and nothing after `leave()`. Wait for `peer:up` if it comes back.",
  },
  PEER_GONE: {
    level: "error",
    meaning: "This `Peer` object stands for a member that is not in the mesh any more.",
    connection: "none",
    remedy: "Take the peer from `node.peers` or from an event, or name it by its address or name.",
  },
  AMBIGUOUS_PEER: {
    level: "error",
    meaning: "Several members have this name.",
    connection: "none",
    remedy: "Name the peer by its address, or by a `Peer` of `node.peers`. Give each member a name of its own.",
  },
  STDIO_FAILED: {
    level: "error",
    meaning: "The command cannot read its stdin, or cannot write its stdout.",
    connection: "kept",
    remedy: "Check disk space and what the shell connects. The message has the system's error.",
  },
  TRACE_FAILED: {
    level: "error",
    meaning: "The file of `--trace` cannot be written.",
    connection: "kept; the run goes on without a trace",
    remedy: "Free disk space, or name a file on another disk. The message has the system's error.",
  },
  ENDED: {
    level: "error",
    meaning: "The mesh has ended for this node, or the server was closed.",
    connection: "none",
    remedy: "Make a new node with `join`, or a new server with `serve`.",
  },
  UNREAD_EVENTS: {
    level: "error",
    meaning: "A loop over `events()` has left too many events unread.",
    connection: "kept; the loop ends",
    remedy: "Read events without waiting inside the loop, and start a new loop from `members` and `peers`.",
  },
  TIMED_OUT: {
    level: "error",
    meaning: "A wait took longer than its time-out.",
    connection: "closed if the wait was for a connection",
    remedy:
      "Look at the members and pairs that the message names, or allow more time. If it was a request, the peer may have done what was asked: look at what its handler waits for before you ask again, or raise `timeoutMs`.",
  },
  STILL_WAITING: {
    level: "warn",
    meaning: "A call of `complete` has waited for 10 s. Logged once for each call; it goes on waiting.",
    connection: "kept",
    remedy: "Start the members that are missing, ask for a smaller `size`, or bound the wait with `timeoutMs`.",
  },
  ABORTED: {
    level: "info",
    meaning: "The caller's AbortSignal ended a wait.",
    connection: "closed if the wait was for a connection",
    remedy: "None needed.",
  },
  CHILD_FAILED: {
    level: "error",
    meaning: "A process that this command has started has failed, or ended before the mesh was complete.",
    connection: "all closed",
    remedy: "Read what the process printed last.",
  },
  NOTES_DROPPED: {
    level: "warn",
    meaning: "The same log event came so often that repetitions were left out.",
    connection: "kept",
    remedy: "Look at the event that repeats.",
  },
} as const satisfies Record<string, Failure>;

/** A stable name for one kind of failure. */
export type ErrorCode = keyof typeof failures;

/** The table by code. */
export const failureTable: Readonly<Record<ErrorCode, Failure>> = failures;

/** True for a code of this table; a code from a peer may be any text. */
export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(failures, text);
}

/** What every call of this package throws or rejects with. */
export class FullmeshError extends Error {
  override name = "FullmeshError";
  /** One of `ErrorCode`; in a `RemoteError` any that the other program has chosen. */
  readonly code: ErrorCode | (string & {});
  /**
   * What to do: the remedy of the code, of the code that a server has refused with, or of what a wait ran out because of. An
   * own property, so that Node prints it with the error.
   */
  readonly remedy: string;

  /**
   * `detail` becomes the message: what happened, with the addresses that matter. It may contain text from peers, and Node
   * prints a message as it is, so unsafe characters are replaced here.
   */
  constructor(code: ErrorCode | (string & {}), detail: string, options?: { readonly cause?: unknown }) {
    super(harmless(detail), options);
    this.code = code;
    this.remedy = remedyOf(this);
  }
}

function remedyOf({ code, message, cause }: FullmeshError): string {
  if (code === "TIMED_OUT" && cause instanceof FullmeshError) return cause.remedy;
  const refused = code === "REFUSED" ? /^([A-Z_]+): /.exec(message)?.[1] : undefined;
  const named = refused !== undefined && isErrorCode(refused) ? refused : code;
  // A code that is not in the table is the application's.
  return failureTable[isErrorCode(named) ? named : "HANDLER_REFUSED"].remedy;
}

/** One line for the log. */
export interface LogEvent {
  readonly code: ErrorCode;
  readonly message: string;
  /** The other end of the connection, as `host:port`. */
  readonly remote?: string;
  /** Where an error was thrown, as `Error` has it. */
  readonly stack?: string;
}

/** The message of anything that was thrown. */
export function messageOf(thrown: unknown): string {
  try {
    return String(thrown instanceof Error ? thrown.message : thrown);
  } catch {
    // An object without a prototype has no text, and a getter may throw.
    return "something that cannot be shown";
  }
}
