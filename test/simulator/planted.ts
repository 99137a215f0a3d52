import { vi } from "vitest";
import type { ScenarioKind } from "../../simulator/scenario.js";
import { IdleMonitor } from "../../src/core/idle-monitor.js";
import type { LinkWriter } from "../../src/core/link-handler.js";
import { NativeConnection } from "../../src/mesh/native/connection.js";
import { DirectoryView } from "../../src/mesh/native/directory-view.js";
import { type GrantRule, grantRules } from "../../src/mesh/native/grant-rules.js";
import { HelloHandler } from "../../src/mesh/native/hello-handler.js";
import { type HelloRule, helloRules } from "../../src/mesh/native/hello-rules.js";
import { Link } from "../../src/mesh/native/link.js";
import { LinkDialer } from "../../src/mesh/native/link-dialer.js";
import { NativePeers } from "../../src/mesh/native/peers.js";
import { ResendBuffer } from "../../src/mesh/native/resend-buffer.js";
import { ResumeState } from "../../src/mesh/native/resume-state.js";
import { ServerLinkReport } from "../../src/mesh/native/server-link-report.js";
import { ByteQueue } from "../../src/messaging/byte-queue.js";
import { ReceiveWindow, SendWindow } from "../../src/messaging/flow-control.js";
import { MessagingChannel, MessagingChannels } from "../../src/messaging/messaging-channel.js";
import { PendingRequests } from "../../src/messaging/pending-requests.js";
import { Stream } from "../../src/messaging/stream.js";
import { CompletenessTracker } from "../../src/rendezvous/completeness-tracker.js";
import { FailureDetector } from "../../src/rendezvous/failure-detector.js";
import { MemberRecord } from "../../src/rendezvous/member-record.js";
import { Members } from "../../src/rendezvous/members.js";
import { Membership } from "../../src/rendezvous/membership.js";
import { Mesh } from "../../src/rendezvous/mesh.js";
import { LogCache } from "../../src/rendezvous/native/log-cache.js";
import { NativeMessageHandler } from "../../src/rendezvous/native/message-handler.js";

/** A bug put in on purpose, in the place where it would be made. */
export interface Plant {
  /** "is found when ..." */
  readonly when: string;
  readonly plant: () => void;
  /** "native" if it is not said. */
  readonly kind?: ScenarioKind;
  /** A seed of the kind that showed it when it was written, to be tried first, and the invariant that it breaks. */
  readonly seed: number;
  readonly breaks: string;
}

/** Judges hellos by other rules. */
function judgeBy(change: (rule: HelloRule) => HelloRule | undefined): void {
  const changed = helloRules.flatMap((rule) => change(rule) ?? []);
  vi.spyOn(helloRules as HelloRule[], "find").mockImplementation((applies) => changed.find(applies as () => boolean));
}

const without =
  (verdict: HelloRule["verdict"]): (() => void) =>
  () =>
    judgeBy((rule) => (rule.verdict === verdict ? undefined : rule));

export const plants: readonly Plant[] = [
  {
    when: "a grant has the number of the attempt before it [C1]",
    plant: () => {
      const { step } = Link.prototype;
      vi.spyOn(Link.prototype, "step").mockImplementation(function (this: Link, event) {
        step.call(this, event);
        if (event === "grant") this.attempt -= 1;
      });
    },
    kind: "oneway",
    seed: 8,
    breaks: "S1",
  },
  {
    when: "what a link has is not closed before its owner is dialed [C8]",
    plant: () => {
      const { granted } = NativePeers.prototype;
      const { drop } = Link.prototype;
      let isGranted = false;
      vi.spyOn(NativePeers.prototype, "granted").mockImplementation(function (this: NativePeers, grant, now) {
        isGranted = true;
        const code = granted.call(this, grant, now);
        isGranted = false;
        return code;
      });
      vi.spyOn(Link.prototype, "drop").mockImplementation(function (this: Link) {
        if (!isGranted) drop.call(this);
      });
    },
    kind: "oneway",
    seed: 44,
    breaks: "A1",
  },
  {
    when: "a grant that was withdrawn is obeyed [C4]",
    plant: () => {
      const others = grantRules.filter(({ verdict }) => verdict !== "STALE_ATTEMPT");
      vi.spyOn(grantRules as GrantRule[], "find").mockImplementation((applies) =>
        others.find(applies as () => boolean),
      );
    },
    kind: "oneway",
    seed: 15,
    breaks: "A1",
  },
  {
    when: "the hello of a grant that was withdrawn is taken [C5]",
    plant: () =>
      judgeBy((rule) => {
        if (rule.verdict === "NOT_OWNER") return undefined;
        if (rule.verdict !== "STALE_ATTEMPT") return rule;
        return { ...rule, applies: (hello) => hello.sender !== "later" && rule.applies(hello) };
      }),
    kind: "oneway",
    seed: 14,
    breaks: "A1",
  },
  {
    when: "nobody dials where the owner cannot",
    plant: () => vi.spyOn(NativePeers.prototype, "granted").mockReturnValue(undefined),
    kind: "oneway",
    seed: 2,
    breaks: "L1",
  },
  { when: "a hello for somebody else is taken [D1]", plant: without("WRONG_TARGET"), seed: 21, breaks: "D1" },
  { when: "a stale hello is taken [A1 A4 B5]", plant: without("STALE_ATTEMPT"), seed: 14, breaks: "A1" },
  {
    when: "a hello that comes before its entry is refused [D4]",
    plant: () => judgeBy((rule) => (rule.verdict === "park" ? { ...rule, verdict: "UNKNOWN_PEER" } : rule)),
    seed: 256,
    breaks: "D1",
  },
  {
    when: "a parked hello is never judged again",
    plant: () => vi.spyOn(HelloHandler.prototype, "judgeParked").mockImplementation(() => {}),
    seed: 287,
    breaks: "D1",
  },
  {
    when: "the old connection is read on when a new attempt takes its place [B1]",
    plant: () =>
      vi.spyOn(Link.prototype, "drop").mockImplementation(function (this: Link) {
        this.connection = undefined;
      }),
    seed: 54,
    breaks: "S1",
  },
  {
    when: "an attempt that is given up stays open [A2]",
    plant: () => vi.spyOn(NativeConnection.prototype, "abort").mockImplementation(() => {}),
    seed: 3,
    breaks: "S1",
  },
  {
    when: "the number of an attempt is used again [A3]",
    plant: () => {
      const step = Link.prototype.step;
      vi.spyOn(Link.prototype, "step").mockImplementation(function (this: Link, event) {
        step.call(this, event);
        if (event === "dial" && this.attempt > 0) this.attempt -= 1;
      });
    },
    seed: 131,
    breaks: "S1",
  },
  {
    when: "an owner does not start a broken link again",
    plant: () => vi.spyOn(LinkDialer.prototype, "broken").mockImplementation(() => {}),
    seed: 140,
    breaks: "L1",
  },
  {
    when: "a message that has been delivered is delivered again [B2 B3]",
    plant: () => {
      const { judge, advance } = ResumeState.prototype;
      const repeating = new WeakSet<ResumeState>();
      vi.spyOn(ResumeState.prototype, "judge").mockImplementation(function (this: ResumeState, number) {
        const verdict = judge.call(this, number);
        if (verdict === "repeated") repeating.add(this);
        else repeating.delete(this);
        return verdict === "repeated" ? "deliver" : verdict;
      });
      vi.spyOn(ResumeState.prototype, "advance").mockImplementation(function (this: ResumeState) {
        if (!repeating.has(this)) advance.call(this);
      });
      vi.spyOn(ResendBuffer.prototype, "acknowledge").mockReturnValue(true);
    },
    seed: 10,
    breaks: "S8",
  },
  {
    when: "what is not acknowledged does not go out again",
    plant: () => vi.spyOn(ResendBuffer.prototype, "rewind").mockImplementation(() => {}),
    seed: 42,
    breaks: "S8",
  },
  {
    when: "fewer lost messages are told of than there are",
    plant: () => vi.spyOn(ResendBuffer.prototype, "countMessages").mockReturnValue(0),
    seed: 302,
    breaks: "S8",
  },
  {
    when: "what was sent on a link that was never up is not told of",
    plant: () => {
      const { countMessages } = ResendBuffer.prototype;
      vi.spyOn(ResendBuffer.prototype, "countMessages").mockImplementation(function (this: ResendBuffer) {
        return this.waitingBytes === this.begunBytes ? 0 : countMessages.call(this);
      });
    },
    seed: 29,
    breaks: "S8",
  },
  {
    when: "what was sent on a link that was never up goes to the next incarnation of the peer",
    plant: () => {
      const lost = new Map<string, Parameters<MessagingChannel["send"]>[]>();
      const links = new Map<MessagingChannel, LinkWriter>();
      const { send, ended } = MessagingChannel.prototype;
      const attach = MessagingChannels.prototype.attach;
      vi.spyOn(MessagingChannel.prototype, "send").mockImplementation(function (this: MessagingChannel, ...message) {
        if (links.get(this)?.hasBeenUp === false) lost.set(this.peer, [...(lost.get(this.peer) ?? []), message]);
        return send.apply(this, message);
      });
      vi.spyOn(MessagingChannel.prototype, "ended").mockImplementation(function (this: MessagingChannel, reason) {
        if (links.get(this)?.hasBeenUp === true) lost.delete(this.peer);
        ended.call(this, reason);
      });
      vi.spyOn(MessagingChannels.prototype, "attach").mockImplementation(function (
        this: MessagingChannels,
        peer,
        isOwner,
        link,
      ) {
        const channel = attach.call(this, peer, isOwner, link);
        links.set(channel, link);
        for (const message of lost.get(channel.peer) ?? []) send.apply(channel, message);
        return channel;
      });
    },
    seed: 11,
    breaks: "S3",
  },
  {
    when: "messages that wait for credit are not told of when the link ends",
    plant: () => vi.spyOn(MessagingChannel.prototype, "waiting", "get").mockReturnValue(0),
    seed: 127,
    breaks: "S8",
  },
  {
    when: "no credit is given for what has been taken",
    plant: () => vi.spyOn(ReceiveWindow.prototype, "consume").mockReturnValue(undefined),
    seed: 3,
    breaks: "L1",
  },
  {
    when: "more is sent than was granted",
    plant: () => vi.spyOn(SendWindow.prototype, "room", "get").mockReturnValue(1e9),
    seed: 3,
    breaks: "A1",
  },
  {
    when: "a byte of a stream is left out",
    plant: () => {
      const take = ByteQueue.prototype.take;
      vi.spyOn(ByteQueue.prototype, "take").mockImplementation(function (this: ByteQueue, most) {
        const bytes = take.call(this, most);
        return bytes !== undefined && bytes.length > 1 ? bytes.subarray(1) : bytes;
      });
    },
    seed: 3,
    breaks: "S8",
  },
  {
    when: "nobody is told that the peer has given a stream up",
    plant: () => vi.spyOn(Stream.prototype, "endAborted").mockImplementation(() => {}),
    seed: 3,
    breaks: "L1",
  },
  {
    when: "the time of a request never runs out",
    plant: () => vi.spyOn(MessagingChannel.prototype, "expire").mockImplementation(() => {}),
    seed: 4,
    breaks: "L2",
  },
  {
    when: "requests are forgotten when their link ends",
    plant: () => vi.spyOn(PendingRequests.prototype, "end").mockReturnValue([]),
    seed: 3,
    breaks: "L2",
  },
  {
    when: "a member that is lost is not buried [D8]",
    plant: () => {
      const apply = DirectoryView.prototype.apply;
      vi.spyOn(DirectoryView.prototype, "apply").mockImplementation(function (this: DirectoryView, entry) {
        return apply.call(this, entry).filter(({ type }) => type !== "gone");
      });
    },
    seed: 160,
    breaks: "S4",
  },
  {
    when: "who is not in a whole directory is not buried",
    plant: () => {
      const restore = DirectoryView.prototype.restore;
      vi.spyOn(DirectoryView.prototype, "restore").mockImplementation(function (
        this: DirectoryView,
        members,
        revision,
        claims,
        gone,
      ) {
        return restore.call(this, members, revision, claims, gone).filter(({ type }) => type !== "gone");
      });
    },
    seed: 581,
    breaks: "L1",
  },
  {
    when: "a fenced member keeps its links",
    plant: () =>
      vi.spyOn(NativePeers.prototype, "restart").mockImplementation(function (this: NativePeers, id) {
        this.roster.restart(id);
      }),
    seed: 660,
    breaks: "D1",
  },
  {
    when: "a silent connection is never given up",
    plant: () => vi.spyOn(NativeConnection.prototype, "giveUp").mockImplementation(() => {}),
    seed: 44,
    breaks: "N13",
  },
  {
    when: "incoming frames are not noticed",
    plant: () => vi.spyOn(IdleMonitor.prototype, "heard").mockImplementation(() => {}),
    seed: 1,
    breaks: "A1",
  },
  {
    when: "a member does not report that a link is gone",
    plant: () => vi.spyOn(ServerLinkReport.prototype, "down").mockImplementation(() => {}),
    seed: 12,
    breaks: "C1",
  },
  {
    when: "a member that comes back does not report all of its links",
    plant: () => vi.spyOn(ServerLinkReport.prototype, "all").mockImplementation(() => {}),
    seed: 830,
    breaks: "L1",
  },
  {
    when: "a mesh counts as whole before it is",
    plant: () => vi.spyOn(CompletenessTracker.prototype, "missing", "get").mockReturnValue(0),
    seed: 5,
    breaks: "C1",
  },
  {
    when: "a member without a session counts as there",
    plant: () =>
      vi.spyOn(MemberRecord.prototype, "isPresent", "get").mockImplementation(function (this: MemberRecord) {
        return this.member !== undefined;
      }),
    seed: 161,
    breaks: "C1",
  },
  {
    when: "nobody is asked who vouches for a member",
    plant: () => vi.spyOn(CompletenessTracker.prototype, "isHeld").mockReturnValue(false),
    seed: 94,
    breaks: "N13",
  },
  {
    when: "a member is lost as soon as its session breaks",
    plant: () => {
      const { depart } = Mesh.prototype;
      vi.spyOn(Mesh.prototype, "depart").mockImplementation(function (this: Mesh, session, type, reason, now) {
        const record = this.members.of(session);
        depart.call(this, session, type, reason, now);
        if (record === undefined) return;
        const { mesh, id, address } = record;
        this.checked({ task: { mesh, id, address }, found: "other", detail: "it has no session" }, now);
      });
    },
    seed: 243,
    breaks: "N13",
  },
  {
    when: "a mesh of which nobody is heard is kept for ever",
    plant: () => vi.spyOn(FailureDetector.prototype, "forgetAt", "get").mockReturnValue(undefined),
    seed: 117,
    breaks: "N26",
  },
  {
    when: "a mesh that is forgotten keeps its addresses",
    plant: () => vi.spyOn(Mesh.prototype, "forget").mockImplementation(() => {}),
    seed: 117,
    breaks: "N26",
  },
  {
    when: "a mesh is forgotten long before its lease has run out",
    plant: () => {
      const forgetAt = Object.getOwnPropertyDescriptor(FailureDetector.prototype, "forgetAt")?.get;
      vi.spyOn(FailureDetector.prototype, "forgetAt", "get").mockImplementation(function (this: FailureDetector) {
        const at: number | undefined = forgetAt?.call(this);
        return at === undefined ? undefined : at - 19_900;
      });
    },
    seed: 144,
    breaks: "N26",
  },
  {
    when: "the server counts members only, and not the appends under way",
    plant: () =>
      vi.spyOn(Members.prototype, "slots", "get").mockImplementation(function (this: Members) {
        return this.directory.size;
      }),
    seed: 107,
    breaks: "S7",
  },
  {
    when: "no slot is kept for who proves its address a second time",
    plant: () => vi.spyOn(Members.prototype, "slots", "get").mockReturnValue(0),
    seed: 96,
    breaks: "S7",
  },
  {
    when: "the first entry that somebody lacks is left out",
    plant: () => {
      const since = LogCache.prototype.since;
      vi.spyOn(LogCache.prototype, "since").mockImplementation(function (this: LogCache, revision) {
        return since.call(this, revision + 1) ?? since.call(this, revision);
      });
    },
    seed: 33,
    breaks: "S5",
  },
  {
    when: "the server believes an address without a proof",
    plant: () => {
      const challenge = NativeMessageHandler.prototype.challenge;
      vi.spyOn(NativeMessageHandler.prototype, "challenge").mockImplementation(function (
        this: NativeMessageHandler,
        session,
        now,
      ) {
        challenge.call(this, session, now);
        const nonce = session.proof?.challenge?.nonce;
        if (nonce !== undefined) this.handle(session, { type: "control", control: { type: "proof", nonce } }, now);
      });
    },
    seed: 246,
    breaks: "S4",
  },
  {
    when: "the answer that an append was rejected is ignored",
    plant: () => vi.spyOn(Membership.prototype, "rejected").mockReturnValue(undefined),
    seed: 2,
    breaks: "L2",
  },
  {
    when: "a rejected append keeps its slot",
    plant: () => vi.spyOn(Members.prototype, "drop").mockImplementation(() => {}),
    seed: 76,
    breaks: "L2",
  },
];
