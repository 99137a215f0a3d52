import type { EventEmitter } from "node:events";
import type { Member } from "./mesh/member.js";
import type { MemberEvent } from "./mesh/vocabulary.js";
import type { NodeEvents } from "./node-events.js";
import { peerAt } from "./node-peers.js";
import type { Address } from "./protocol/address.js";

/** Tells whoever listens to a node what happens in the mesh. */
export function tellMesh(node: EventEmitter<NodeEvents>, machine: Member, event: MemberEvent): void {
  switch (event.type) {
    case "waiting":
      node.emit("waiting", event.place);
      break;
    case "directory":
      node.emit("directory", event.members);
      break;
    case "unlink":
      node.emit("peer:down", event.peer, event.reason, event.unacknowledged);
      break;
    case "bytes":
      node.emit("bytes", { peer: event.peer, bytes: event.bytes });
      break;
    case "drained":
      node.emit("drain", event.peer);
      break;
    case "complete":
      node.emit("complete", event);
      break;
    case "degraded":
      node.emit("degraded", { count: event.count, missing: event.missing });
      break;
    case "fenced":
      node.emit("fenced", event.reason);
      break;
    default:
      if ("peer" in event) tellPeer(node, machine, event.peer, event);
  }
}

/** What happens on a link that there is. */
function tellPeer(node: EventEmitter<NodeEvents>, machine: Member, address: Address, event: MemberEvent): void {
  const peer = peerAt(machine, address);
  if (peer === undefined) return;
  if (event.type === "link") node.emit("peer:up", peer);
  else if (event.type === "relink") node.emit("peer:back", peer);
  else if (event.type === "broken") node.emit("peer:unreachable", peer, event.reason);
  else if (event.type === "message") node.emit("message", { peer, topic: event.topic, payload: event.payload });
}
