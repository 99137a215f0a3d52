import { harmless } from "../core/escaping.js";
import type { Address } from "../protocol/address.js";
import type { MissingPair } from "../protocol/missing-pair.js";
import { durationText, type MemberStatus, type MeshStatus, type PairEnd } from "../protocol/status.js";
import type { StatusChange } from "../protocol/status-changes.js";

/** A member for people. What could change the direction of the text around it is replaced. */
export function shown({ name, address }: { readonly name?: string; readonly address: string }): string {
  return harmless(name ?? address);
}

/** The member at this address, by its name if it has one. */
export function shownAt(status: MeshStatus, address: Address | string): string {
  return shown(status.members.find((member) => member.address === address) ?? { address });
}

/** What a pair lacks, as a sentence. */
export function pairText(status: MeshStatus, { a, b, owner, stage, attempt, reason }: MissingPair): string {
  const other = owner === a ? b : a;
  const tries = attempt === 0 ? "" : `, attempt ${attempt}`;
  return `${shownAt(status, owner)} should dial ${shownAt(status, other)}: ${harmless(stage)}${tries}: ${harmless(reason)}`;
}

/** What one end has said last of its link, and what it measures. */
export function endText(end: PairEnd, now: number): string {
  const { report, dialect, roundTripMs, queuedBytes } = end;
  if (dialect === "classic") return `${shown(end)} is classic, and says nothing of its links`;
  if (report === undefined) return `${shown(end)} has said nothing of this link`;
  const { stage, attempt, reason, at } = report;
  const tries = attempt === 0 ? "" : `, attempt ${attempt}`;
  const why = reason === undefined ? "" : `: ${harmless(reason)}`;
  const said = `${shown(end)} said ${durationText(now - at)} ago: ${harmless(stage)}${tries}${why}`;
  const figures = [
    roundTripMs === undefined ? [] : `round trip ${roundTripMs.toPrecision(2)} ms`,
    queuedBytes === undefined ? [] : `${queuedBytes.toLocaleString("en")} bytes queued`,
  ].flat();
  return figures.length === 0 ? said : `${said}; ${figures.join(", ")}`;
}

/** What has happened, as a sentence; undefined for what is only counted. */
export function changeText(status: MeshStatus, change: StatusChange): string | undefined {
  switch (change.type) {
    case "joined":
      return `${shown(change.member)} has joined as number ${(change.member.rank ?? 0) + 1}`;
    case "member":
      return `${shown(change.member)} has a session`;
    case "suspect":
      return `${shown(change.member)} is suspected: ${harmless(change.member.reason ?? "it has no session")}`;
    case "expected":
      return `${shown(change.member)} is expected back`;
    case "waiting":
      return `${shown(change.member)} waits in line`;
    case "departed":
      return `${shown(change.departure)} ${departureWord(change.departure.type)}: ${harmless(change.departure.reason)}`;
    case "linked":
      return `${shownAt(status, change.a)} and ${shownAt(status, change.b)} are linked`;
    case "missing":
      return pairText(status, change.pair);
    case "claimed":
      return `${shownAt(status, change.claim.holder)} holds "${harmless(change.claim.key)}"`;
    case "unclaimed":
      return `nobody holds "${harmless(change.key)}" any more`;
    case "state":
      return change.complete === status.complete
        ? undefined
        : change.complete
          ? "the mesh is complete"
          : "the mesh is not complete";
    default:
      return undefined;
  }
}

function departureWord(type: "left" | "lost" | "replaced"): string {
  return type === "left" ? "has left" : type === "lost" ? "was lost" : "was replaced";
}

/** Whom a change is about. */
export function subjectsOf(change: StatusChange): readonly string[] {
  switch (change.type) {
    case "departed":
      return [change.departure.address];
    case "gone":
      return [change.address];
    case "linked":
      return [change.a, change.b];
    case "missing":
      return [change.pair.a, change.pair.b];
    case "claimed":
      return [change.claim.holder];
    case "unclaimed":
    case "state":
      return [];
    default:
      return [change.member.address];
  }
}

/** The members that the directory lists, in join order. */
export function listedIn(status: MeshStatus): readonly MemberStatus[] {
  return status.members.filter(({ rank }) => rank !== null);
}
