/**
 * Every failure by its code: its log level, what happens to the connection on which it occurred, and its remedy. The
 * documents print this table, and nothing else in the project describes a failure.
 */

import { harmless } from "./escaping.js";

/** `error`: we cannot go on. `warn`: somebody should look. `info`: expected in a healthy mesh now and then. */
export type LogLevel = "info" | "warn" | "error";

interface Failure {
  readonly level: LogLevel;
  readonly meaning: string;
  readonly connection: string;
  readonly remedy: string;
}

const failures = {
  // What a rendezvous server may be sent.
  BAD_ADDRESS: {
    level: "warn",
    meaning: "What was sent is not `<ip>:<port>` with a literal IP address and a port from 1 to 65535.",
    connection: "refused: told why, half-closed, closed within 1 s",
    remedy: "Send an IP address, not a host name or a zone, and a decimal port without leading zeros.",
  },
  FOREIGN_HOST: {
    level: "warn",
    meaning: "The address has another host than the one that the connection comes from.",
    connection: "refused: told why, half-closed, closed within 1 s",
    remedy: "Register the address you connect from, or start the server with --allow-advertise for that network.",
  },
  ADDRESS_IN_USE: {
    level: "warn",
    meaning: "A member whose connection lives has this address.",
    connection: "refused: told why, half-closed, closed within 1 s; the member notices nothing",
    remedy: "Choose another port, or wait until the member that has the address is gone.",
  },
  SECOND_REGISTRATION: {
    level: "warn",
    meaning: "A second registration came on a connection that has registered.",
    connection: "kept; the second registration is ignored",
    remedy: "Use one connection to the server for each member.",
  },
  EXTRA_BYTES: {
    level: "warn",
    meaning: "Bytes came after the registration.",
    connection: "kept; the bytes are ignored",
    remedy: "Send the server nothing after the registration; members talk to one another directly.",
  },
  NOTHING_SAID: {
    level: "info",
    meaning: "The other side closed before it had said who it is.",
    connection: "closed",
    remedy: "None needed: port scanners and health checks do this.",
  },
  HANDSHAKE_TIMEOUT: {
    level: "warn",
    meaning: "The other side did not say who it is in time.",
    connection: "half-closed, closed within 1 s; a server says why first",
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
    connection: "half-closed without an answer, closed within 1 s",
    remedy: "Join without TLS: the classic dialect has no encryption.",
  },
  HELLO_AT_SERVER: {
    level: "warn",
    meaning: "A hello, which members say to one another, came to the rendezvous server.",
    connection: "refused: told why, half-closed, closed within 1 s",
    remedy: "A member has registered the server's own address as its own; register the member's.",
  },
  BUSY: {
    level: "warn",
    meaning: "Too many connections, in all or from this host, have not yet said who they are.",
    connection:
      "told why and when to come back, in its own dialect once its first byte has come; half-closed, closed within 1 s",
    remedy: "Try again in a few seconds, as members of ours do; raise the open-file limit (ulimit -n) if it lasts.",
  },
  MESH_SEALED: {
    level: "warn",
    meaning: "The mesh has as many members as its capacity, and ends once it is whole.",
    connection: "refused: told why, half-closed, closed within 1 s",
    remedy: "Try again in case a member is lost, or start a server with a larger --capacity or with --on-full hold.",
  },
  LIST_FULL: {
    level: "warn",
    meaning: "With this member the list would outgrow what a classic reader accepts.",
    connection: "refused: told why, half-closed, closed within 1 s",
    remedy: "Split the members over several servers.",
  },
  LIST_LONG: {
    level: "warn",
    meaning: "The list has outgrown 1,000 bytes, and simple readers take 1,024 at a time.",
    connection: "kept; said once",
    remedy: "Check that every member reads more than 1,024 bytes at a time, or keep the mesh below 46 members.",
  },
  REGISTRATION_REVISED: {
    level: "warn",
    meaning: "More digits of a port came after the quiet period, so a registration was corrected.",
    connection: "kept; the old address leaves the directory and the corrected one joins it",
    remedy: "Listen on a port of 6554 or more: no such port can be the beginning of another.",
  },

  // What a member may be sent by its server.
  SERVER_UNREACHABLE: {
    level: "error",
    meaning: "The rendezvous server could not be reached.",
    connection: "none came to be",
    remedy: "Check the address, and that the server is running (fullmesh serve).",
  },
  SERVER_VANISHED: {
    level: "error",
    meaning: "The connection to the rendezvous server broke, or ended before a list had come.",
    connection: "closed; the node ends",
    remedy: "Look at the server's log for the reason, then join again.",
  },
  SERVER_AWAY: {
    level: "warn",
    meaning: "The connection to the rendezvous server broke; links are kept.",
    connection: "closed; the server is dialed again, backed off, and the session resumed",
    remedy: "Look whether the server still runs; the mesh goes on without it, but nobody can join.",
  },
  SERVER_BUSY: {
    level: "warn",
    meaning: "The rendezvous server cannot take this member in now, and has said when to try again.",
    connection: "closed; the member registers on a new one, not before the time that the server has said",
    remedy: "None needed, unless it lasts: then look at the server's log for the reason.",
  },
  SERVER_IDLE_CLOSED: {
    level: "info",
    meaning: "The server closed a connection on which nothing had been registered yet.",
    connection: "closed; registering opens a new one",
    remedy: "None needed.",
  },
  REFUSED: {
    level: "error",
    meaning: "The server answered the registration with something that is no list.",
    connection: "closed; the node ends",
    remedy: "Read the server's words; if they make no sense, this may not be a rendezvous server.",
  },
  NOT_LISTED: {
    level: "warn",
    meaning: "A list came that lacks this node's own address.",
    connection: "kept; nobody is dialed on that list's account",
    remedy: "Check that the advertised address is the one that the server shows.",
  },
  LIST_DUPLICATE: {
    level: "warn",
    meaning: "A list names an address twice.",
    connection: "kept; the first of the two counts",
    remedy: "The server has a fault: a directory holds each address once.",
  },
  BAD_LIST: {
    level: "warn",
    meaning: "Something in a list is not an address.",
    connection: "kept; that entry is skipped",
    remedy: "The server has a fault, or is not a rendezvous server.",
  },
  LIST_TOO_LONG: {
    level: "error",
    meaning: "A list is longer than a classic reader accepts.",
    connection: "closed; the node ends",
    remedy: "Split the members over several servers.",
  },
  LIST_REVISED: {
    level: "warn",
    meaning: "More digits of a port came after the quiet period, so the end of a list was corrected.",
    connection: "kept; a dial to the wrong address is given up",
    remedy: "Let members listen on ports of 6554 or more.",
  },

  // What members may do to one another.
  BAD_HELLO: {
    level: "warn",
    meaning: "The first bytes on a peer connection are not `Hello from:<ip>:<port>`.",
    connection: "closed",
    remedy: "Check what connects to this port; only members of the mesh should.",
  },
  REGISTRATION_AT_NODE: {
    level: "warn",
    meaning: "A registration came to a member instead of to the rendezvous server.",
    connection: "closed",
    remedy: "Point the joining program at the server's address, not at a member's.",
  },
  UNKNOWN_PEER: {
    level: "warn",
    meaning: "The directory does not list this peer: a hello came from it, or something was to be sent to it.",
    connection: "parked for 5 s, then closed",
    remedy:
      "Check that the other program has joined this mesh, and its address or name; `node.members` has those that are listed.",
  },
  PARKING_FULL: {
    level: "warn",
    meaning: "Too many hellos wait for a list that names them.",
    connection: "closed",
    remedy: "Somebody greets with addresses that are not in the mesh; look at who connects.",
  },
  HELLO_FROM_SELF: {
    level: "warn",
    meaning: "A hello names this node's own address.",
    connection: "closed",
    remedy: "Two programs believe that they have the same address; give each its own port.",
  },
  WRONG_DIRECTION: {
    level: "warn",
    meaning: "A hello comes from a member that joined later; the earlier one dials.",
    connection: "closed; the link that this node dials is not touched",
    remedy: "The other program dials those before it; it must dial those after it.",
  },
  ALREADY_LINKED: {
    level: "warn",
    meaning: "A second hello came from a peer whose link is up.",
    connection: "closed; the first link is not touched",
    remedy: "None if the peer's connection broke at its end only: it tries again. Otherwise it dials twice.",
  },
  DIAL_FAILED: {
    level: "warn",
    meaning: "A listed address refused the connection, or could not be reached.",
    connection: "none came to be; dialed again, backed off, while the newest list names it",
    remedy: "Check that the member still runs, and that its port is open to this host.",
  },
  DIAL_TIMEOUT: {
    level: "warn",
    meaning: "A listed address did not answer in time, or not while others waited and too many dials were slow.",
    connection: "given up; dialed again, backed off, while the newest list names it",
    remedy: "Look for a firewall that drops packets between the two hosts, or a suspended process.",
  },
  NO_DESCRIPTORS: {
    level: "warn",
    meaning: "This process, or the server that says so, has no descriptors left for another connection.",
    connection:
      "dialing: none came to be, and it is dialed again, backed off; accepting: refused, told why and when to come back, " +
      "and at the very last closed at once",
    remedy: "Raise the open-file limit (ulimit -n) of the process whose log says it.",
  },
  SELF_CONNECT: {
    level: "warn",
    meaning: "A dial connected to itself: nobody listened, and TCP met its own outgoing port.",
    connection: "closed; dialed again, backed off, while the newest list names it",
    remedy: "Listen on ports below the ephemeral range (32768 on Linux).",
  },
  TOO_SLOW: {
    level: "warn",
    meaning: "The other side did not read what was sent to it before the end.",
    connection: "closed; what was unsent is lost",
    remedy: "Look at why that program does not read.",
  },

  // What the native dialect adds.
  BAD_PREFACE: {
    level: "warn",
    meaning: "A connection begins like the native dialect, but not with its preface.",
    connection: "closed",
    remedy: "Check what connects to this port.",
  },
  VERSION_MISMATCH: {
    level: "error",
    meaning: "The two ends have no version of the native dialect in common.",
    connection: "answered with the versions that this end speaks, half-closed, closed within 1 s",
    remedy: "Run the same major version of fullmesh on both ends.",
  },
  BAD_FRAME: {
    level: "warn",
    meaning: "A frame cannot be read as what it says it is.",
    connection: "refused: told why, half-closed, closed within 1 s",
    remedy: "Compare the sender with PROTOCOL.md and its vectors.",
  },
  FRAME_TOO_LARGE: {
    level: "warn",
    meaning: "A frame announces more bytes than are allowed at this point.",
    connection: "refused before any memory is taken: told why, half-closed, closed within 1 s",
    remedy: "Send smaller messages, or raise the limit at the receiver.",
  },
  UNKNOWN_MESSAGE: {
    level: "warn",
    meaning: "A message has a type or kind that this version does not know, and may not be ignored.",
    connection: "refused: told why, half-closed, closed within 1 s",
    remedy: "Run the same version of fullmesh on both ends.",
  },
  UNEXPECTED_MESSAGE: {
    level: "warn",
    meaning: "A message came that does not belong at this point of the conversation.",
    connection: "refused: told why, half-closed, closed within 1 s",
    remedy: "Compare the sender with PROTOCOL.md.",
  },
  WRONG_DIALECT: {
    level: "warn",
    meaning: "The caller speaks a dialect that is not spoken here.",
    connection: "refused: told why, half-closed, closed within 1 s",
    remedy: "Look at the --dialect of both ends; native and classic members meet on a server with --dialect any.",
  },
  WRONG_MESH: {
    level: "warn",
    meaning: "The caller belongs to another mesh.",
    connection: "refused: told why, half-closed, closed within 1 s",
    remedy: "Compare --mesh on both ends.",
  },
  TOO_MANY_MEMBERS: {
    level: "warn",
    meaning: "The mesh, or the server, has as many members as it may.",
    connection: "refused: told why, half-closed, closed within 1 s",
    remedy: "Split the members over several meshes or servers, or start the server with a larger --capacity.",
  },
  TOO_MANY_MESHES: {
    level: "warn",
    meaning: "The server keeps as many meshes as it may, and was asked for another one.",
    connection: "refused: told why, half-closed, closed within 1 s",
    remedy: "Use an existing mesh, or another server.",
  },
  STORE_UNAVAILABLE: {
    level: "warn",
    meaning: "The membership log did not take the new member: it is away, or other servers keep taking its place.",
    connection: "refused: told why and when to come back, half-closed, closed within 1 s",
    remedy: "Try again after the time that the refusal names, as members of ours do.",
  },
  ID_IN_USE: {
    level: "warn",
    meaning: "The id of a registration belongs to a member.",
    connection: "refused: told why, half-closed, closed within 1 s; the member notices nothing",
    remedy: "Draw 128 new random bits at each join.",
  },
  ADDRESS_UNPROVED: {
    level: "warn",
    meaning: "The server dialed the address that a member wants to be reached at, and did not find that member there.",
    connection: "refused: told why, half-closed, closed within 1 s",
    remedy: "Advertise an address at which the server and the other members can reach this one; look for a firewall.",
  },
  LOOPBACK_MIX: {
    level: "warn",
    meaning: "A mesh is on loopback or it is not; this address is of the other kind than the first member's.",
    connection: "refused: told why, half-closed, closed within 1 s",
    remedy: "Let all members reach the server by the same kind of address: all by 127.0.0.1, or all by the network.",
  },
  FENCED: {
    level: "warn",
    meaning: "This incarnation was removed from the mesh while it was away; it is never taken back.",
    connection: "closed, as are all links; the node joins anew with a new id",
    remedy: "None needed. If it happens often, look at what suspends the process or cuts its network.",
  },
  ADDRESS_SHARED: {
    level: "warn",
    meaning: "Two programs answer at one address, such as that of a balancer, and push one another out of the mesh.",
    connection: "closed; whoever was pushed out joins anew, after a pause that grows",
    remedy:
      "Advertise an address that reaches one program only: a pod's or a container's own, not that of a balancer or a Kubernetes Service.",
  },
  UNAWAITED_CHALLENGE: {
    level: "warn",
    meaning: "A dial-back came for a registration that this node has not made.",
    connection: "refused: told why, half-closed, closed within 1 s",
    remedy: "Somebody has tried to register this node's address as its own.",
  },
  WRONG_TARGET: {
    level: "info",
    meaning: "A hello is for another incarnation than the one that listens here.",
    connection: "refused: told why, half-closed, closed within 1 s",
    remedy: "None needed: the caller's directory lags behind a restart.",
  },
  GONE: {
    level: "info",
    meaning: "A hello comes from an incarnation that has been removed.",
    connection: "refused: told why, half-closed, closed within 1 s",
    remedy: "None needed: the caller joins anew once it learns of it.",
  },
  NOT_OWNER: {
    level: "warn",
    meaning: "A hello comes from the end that does not own the link: the member that joined earlier does, and dials.",
    connection: "refused: told why, half-closed, closed within 1 s",
    remedy: "The other program dials those before it; it must dial those after it.",
  },
  STALE_ATTEMPT: {
    level: "info",
    meaning: "A hello is older than one that has been taken already.",
    connection:
      "refused: told the highest attempt, half-closed, closed within 1 s; the present connection is not touched",
    remedy: "None needed: the owner goes on from the highest attempt.",
  },
  SESSION_LOST: {
    level: "error",
    meaning: "The two ends of a link do not agree on which messages have been delivered.",
    connection: "refused: told why, half-closed, closed within 1 s; the link ends",
    remedy: "The other program has forgotten its link without restarting; it must draw a new id when it restarts.",
  },
  PAYLOAD_CHANGED: {
    level: "error",
    meaning:
      "Bytes that were lent to a message, a request, a reply or a stream, or that had come on one and were not read yet, were transferred away or resized.",
    connection: "refused: told why, half-closed, closed within 1 s; the link ends",
    remedy:
      "From 4 KiB on bytes are not copied: leave them as they are until the peer has them, or send a copy. What has come may share its memory with what comes behind it: transfer a copy.",
  },
  SILENT: {
    level: "warn",
    meaning: "Nothing came for so long that the connection was given up, although it was probed.",
    connection: "closed; a link is dialed again by its owner",
    remedy: "Look for a cut network, or a suspended or overloaded process at the other end.",
  },
  INCOMPLETE: {
    level: "warn",
    meaning: "The mesh ended and was not whole: members were not there, or pairs of them were not linked.",
    connection: "closed, as at every end of a mesh",
    remedy:
      "Look at the members, pairs and reasons that the message names: a program that died, or a host that another " +
      "cannot reach.",
  },
  SECRET_REQUIRED: {
    level: "warn",
    meaning: "The caller speaks in plain text, and this port takes only connections that prove the secret.",
    connection: "refused: told why, half-closed, closed within 1 s",
    remedy: "Give the caller the secret (--secret-file or FULLMESH_SECRET). Classic programs cannot have one.",
  },
  SECRET_MISMATCH: {
    level: "warn",
    meaning: "The other side has another secret or none, or takes nobody of this mesh or role; it does not tell which.",
    connection: "closed in the handshake",
    remedy: "Give both ends the same secret.",
  },
  SECRET_UNPROVED: {
    level: "warn",
    meaning: "The other side did not prove the secret: it came with a certificate, a ticket or recorded bytes instead.",
    connection: "closed in the handshake",
    remedy: "Something that is not fullmesh is at the other end, or somebody poses as it; check the address.",
  },
  WRONG_IDENTITY: {
    level: "warn",
    meaning: "The other side named an identity that is not wanted here: another mesh, another role, or none of ours.",
    connection: "closed in the handshake",
    remedy: "Compare --mesh on both ends, and which of the ports is the server's.",
  },
  WRONG_ROLE: {
    level: "warn",
    meaning: "A message came on a connection whose key is not for that: a member's on the server's, or the reverse.",
    connection: "refused: told why, half-closed, closed within 1 s",
    remedy: "A member poses as the rendezvous server, or the reverse; find out which host this is.",
  },
  BAD_SECRET: {
    level: "error",
    meaning: "A secret is not 32 random bytes in base64url.",
    connection: "none",
    remedy: "Make one with `fullmesh secret`; a shorter one could be guessed from a recorded handshake.",
  },
  SECRET_FILE: {
    level: "error",
    meaning: "The file with the secret cannot be read.",
    connection: "none",
    remedy: "Check the path and who may read it; `fullmesh secret > FILE` makes a new one.",
  },
  CLASSIC_PEER: {
    level: "error",
    meaning: "That peer speaks the classic dialect, which has bytes and no messages.",
    connection: "kept; nothing was sent",
    remedy: "Use `write` for classic peers.",
  },
  NATIVE_PEER: {
    level: "error",
    meaning: "That peer speaks the native dialect, which has messages and no bare bytes.",
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
    meaning: "At the peer nobody handles requests, or streams, of this topic.",
    connection: "kept",
    remedy: "Call `handle` or `onStream` with that topic at the peer, before others may ask; compare the spelling.",
  },
  HANDLER_FAILED: {
    level: "warn",
    meaning: "What handles this topic threw an error.",
    connection: "kept",
    remedy: "Look at the program that handles the topic; its own log has the same message.",
  },
  OVERLOADED: {
    level: "warn",
    meaning:
      "The peer has as many requests in work, or streams open, from this node as it may, or holds too much for all its peers.",
    connection:
      "kept; refused if a message finds no room: the link is dialed again by its owner, after pauses that grow",
    remedy: "Ask for less at once, or try again later; the peer's program must take what has come.",
  },
  PEER_DOWN: {
    level: "info",
    meaning: "The link with the peer ended before what was under way on it came to its end.",
    connection: "ended with the link",
    remedy: "Ask another peer, or the same one when it is back; whether it has done what was asked is not known.",
  },
  STREAM_ABORTED: {
    level: "info",
    meaning: "One end has given up the stream.",
    connection: "kept",
    remedy: "The cause of the error says why; open another stream to try again.",
  },
  BAD_VALUE: {
    level: "warn",
    meaning: "A payload has no form on the wire, what came is not the form of any, or a value takes too much memory.",
    connection: "kept; a message is dropped, a request fails",
    remedy:
      "Send bytes, or what JSON can say and besides bytes and dates; nothing deeper than 100, nothing circular. Send large values in parts, or as bytes.",
  },

  // What the calling program or this computer may get wrong.
  BAD_OPTION: {
    level: "error",
    meaning: "An option has a value that it cannot take.",
    connection: "none",
    remedy: "Use a value of the kind that the message names; --help shows each flag with its environment variable.",
  },
  WRONG_STEP: {
    level: "error",
    meaning: "A step was taken before the one that it needs, or twice.",
    connection: "none",
    remedy: "Take the steps in the order of the documentation.",
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
    meaning: "The system does not allow listening there.",
    connection: "none",
    remedy: "Ports below 1024 need privileges; choose a higher one.",
  },
  INSECURE_LISTEN: {
    level: "error",
    meaning: "Listening beyond loopback without a secret would let anyone on the network join and read.",
    connection: "none",
    remedy:
      "Give the server and its members a secret (--secret-file, `secret`), or listen on 127.0.0.1. Say --insecure only on a network that you trust.",
  },
  SECRET_IN_CLASSIC: {
    level: "error",
    meaning: "A secret is set, and the classic dialect can neither check nor encrypt anything with it.",
    connection: "none",
    remedy: "Leave out the secret (FULLMESH_SECRET, --secret-file) to go on in plain text.",
  },
  QUEUE_FULL: {
    level: "error",
    meaning: "More bytes, or requests, than the limit wait for a peer that does not take them.",
    connection: "kept; nothing was taken",
    remedy: "Wait for `drain` after a write or a send that returned false; await replies before more requests.",
  },
  NOT_LINKED: {
    level: "error",
    meaning: "There is no link with that peer.",
    connection: "none",
    remedy: "Send, ask, open or write after `peer:up` and before `peer:down`, and not after the end.",
  },
  PEER_GONE: {
    level: "error",
    meaning: "The incarnation that this `Peer` stands for is not in the mesh any more.",
    connection: "none",
    remedy: "Take the peer from `node.peers` or from an event anew, or name it by its address or name.",
  },
  AMBIGUOUS_PEER: {
    level: "error",
    meaning: "Several members have this name.",
    connection: "none",
    remedy: "Name the peer by its address, or by a `Peer` of `node.peers`; give each member a name of its own.",
  },
  STDIO_FAILED: {
    level: "error",
    meaning: "The command cannot read its stdin, or cannot write its stdout.",
    connection: "kept",
    remedy: "Give the disk room, or compare what the shell connects; the message names the system's error.",
  },
  TRACE_FAILED: {
    level: "error",
    meaning: "The file of `--trace` cannot be written any more.",
    connection: "kept; the run goes on without a trace",
    remedy: "Give the disk room, or name a file on another one; the message names the system's error.",
  },
  ENDED: {
    level: "error",
    meaning: "The mesh has ended for this node, or the server has been closed.",
    connection: "none",
    remedy: "Make a new one.",
  },
  UNREAD_CHANGES: {
    level: "error",
    meaning: "Whoever iterates over `changes` has left too many of them unread.",
    connection: "kept; the iteration ends",
    remedy: "Take changes as they come, without waiting in the loop, and begin anew from `members` and `peers`.",
  },
  TIMED_OUT: {
    level: "error",
    meaning: "A wait ran out.",
    connection: "closed where the wait was for a connection",
    remedy: "Look at the members and pairs that the message names, or allow more time.",
  },
  ABORTED: {
    level: "info",
    meaning: "The caller's AbortSignal ended a wait.",
    connection: "closed where the wait was for a connection",
    remedy: "None needed.",
  },
  CHILD_FAILED: {
    level: "error",
    meaning: "A member process ended before the mesh was complete.",
    connection: "all closed",
    remedy: "Read what the process said last.",
  },
  NOTES_DROPPED: {
    level: "warn",
    meaning: "The same note came so often that repetitions were left out of the log.",
    connection: "kept",
    remedy: "Look at the note that repeats.",
  },
} as const satisfies Record<string, Failure>;

/** A stable name for one kind of failure. */
export type ErrorCode = keyof typeof failures;

/** The table by code; see PROTOCOL.md for it in print. */
export const failureTable: Readonly<Record<ErrorCode, Failure>> = failures;

/** True for a code of this table; what comes from elsewhere may be anything. */
export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(failures, text);
}

/** What every failed promise and every refusal of this package carries. */
export class FullmeshError extends Error {
  override readonly name = "FullmeshError";
  readonly code: ErrorCode;

  /**
   * `detail` says what happened here, with the addresses that matter; the remedy comes from the table. It may name what
   * others have chosen, and Node prints the message of an error as it is: so unsafe characters are replaced here.
   */
  constructor(code: ErrorCode, detail: string, options?: { readonly cause?: unknown }) {
    super(harmless(detail), options);
    this.code = code;
  }

  /** What to try; where a server has refused with a code of its own, that code's remedy. */
  get remedy(): string {
    const named = this.code === "REFUSED" ? /^([A-Z_]+): /.exec(this.message)?.[1] : undefined;
    return failureTable[named !== undefined && isErrorCode(named) ? named : this.code].remedy;
  }
}

/** One line for the log: a coded thing that a machine noticed and that somebody may want to know. */
export interface LogEvent {
  readonly code: ErrorCode;
  readonly message: string;
  /** The other end of the connection that it is about, as `host:port`. */
  readonly remote?: string;
}
