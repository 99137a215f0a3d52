/**
 * Every bound of the project, each with the reason for its value. Times are in milliseconds, sizes in bytes. Machines take
 * them as an option, so that tests and simulations can tighten them.
 */
export const defaultLimits = {
  /**
   * How long a caller may send nothing while few handshakes are pending. Ten minutes, so that a person who goes through
   * the steps one by one in a debugger can join; it costs one descriptor while hardly any are in use.
   */
  firstByteMs: 600_000,
  /** The same once `handshakesCrowded` are pending: a silent caller then takes a place from others. */
  firstByteCrowdedMs: 5_000,
  /** From the first byte to the end of the handshake. A split message loses at most a few retransmissions (3 s each). */
  handshakeMs: 15_000,
  /**
   * Connections that have not registered or sent a hello, in all: as many as the kernel may hand over in one turn of
   * the event loop, because Node accepts a whole backlog before it reads the first byte of any. They cost about 16 MiB;
   * in the middle of a TLS handshake each costs some 60 KiB, so with a secret 240 MiB are possible.
   */
  handshakesPending: 4_096,
  /** The same from one host, loopback exempt: more members than a machine starts at once. */
  handshakesPendingPerHost: 512,
  /** From so many pending handshakes on `firstByteCrowdedMs` applies. */
  handshakesCrowded: 64,
  /**
   * How long a connection for which there is no room may take for its first byte, which shows the dialect of the
   * refusal. A caller that has something to send sends it at once, and it arrives within a few retransmissions.
   */
  refusalMs: 1_000,
  /** Such connections at once; beyond that the oldest is refused without waiting. */
  refusalsPending: 256,
  /**
   * How long an ambiguous last port may wait for another digit. Measured gaps inside a split message stay below 500 ms in
   * all cases at 20 ms round trip and 5 % loss, and in 99.8 % at 100 ms.
   */
  quietMs: 500,
  /**
   * The pause of our writer between hello and payload when its own port is ambiguous: the reader's quiet period and a
   * margin.
   */
  payloadPauseMs: 600,
  /** Between two messages to one simple reader, which takes one `recv()` for one message; also from hello to payload. */
  messageGapMs: 50,
  /** From half-closing to closing: time for the other side to read the last message and close. */
  lingerMs: 1_000,
  /**
   * How long the data queued for a peer may take to go out at the end; the rest is dropped and reported. Half of the 10
   * s that `docker stop` grants before it kills: a peer that hangs must not make a leave look like a crash.
   */
  drainMs: 5_000,
  /**
   * From the last list at capacity to the teardown: time for classic members, which cannot report their links, to make
   * them. Shorter ends sooner, longer is kinder to slow networks.
   */
  settleMs: 2_000,
  /** A list; 64 KiB hold about 2,900 members. Simple readers accept far less, see `listWarnBytes`. */
  listBytes: 65_536,
  /**
   * What the lists to all classic members may take in a second while the mesh grows. 64 members need less; 500 get a
   * list each 0.35 s at most.
   */
  listRateBytes: 16 * 1024 * 1024,
  /**
   * The same while members come and go and the mesh does not grow: the time between two lists doubles until they take
   * no more than this, or until it is `listGapMaxMs`.
   */
  listChurnRateBytes: 1_048_576,
  /** The longest time between two lists while members come and go, unless `listChurnRateBytes` needs more. */
  listGapMaxMs: 5_000,
  /** From this size on a list is too long for a reader with a buffer of 1,024 bytes. */
  listWarnBytes: 1_000,
  /** The text that a server sends at the end of a mesh, as a classic member keeps it for its log. */
  endTextBytes: 512,
  /**
   * How long a hello may wait for a directory that lists its sender. Lists are `messageGapMs` apart, so 5 s is a
   * generous delay.
   */
  parkedMs: 5_000,
  /** Parked hellos in all. Chosen arbitrarily, intended to exceed the members that join at one moment. */
  parked: 256,
  /** What parked connections have sent behind their hellos, in all: as much as one peer may have queued. */
  parkedBytes: 16 * 1024 * 1024,
  /** Dials open at once that are not slow. More would only queue in the kernel and delay one another. */
  dialsInFlight: 8,
  /**
   * From here on a dial without an answer is slow: it goes on, but others need not wait for it. On a local network an
   * answer takes a few milliseconds.
   */
  dialSlowMs: 100,
  /**
   * As many dials as are slow may be open beside them, up to this number. Then 1,000 peers that never answer are all
   * being dialed within a second, because the number doubles every `dialSlowMs`.
   */
  dialsWidened: 256,
  /**
   * Slow dials that are kept, but never more than a quarter of `connections`; beyond that the oldest is given up. If
   * the members of a mesh of 1,000 all answered, they would take as many connections.
   */
  dialsSlow: 1_024,
  /** One dial: three SYN retransmissions (1, 2, 4 s) and a margin. */
  dialMs: 10_000,
  /**
   * How long a link may have no connection, while it is dialed from one end, before it is tried from the other: two
   * retransmissions of a SYN (1 and 3 s), and a margin.
   */
  openingMs: 3_500,
  /** The first pause after a failed dial; doubles with each further one. */
  redialMinMs: 50,
  /** The longest such pause. */
  redialMaxMs: 30_000,
  /**
   * The pause before a classic link that was up is dialed again. The end of one link is most often the end of the mesh,
   * whose teardown is on its way.
   */
  relinkMs: 1_000,
  /**
   * A member that is removed sooner than this after its admission joins again after a pause, which doubles each time in
   * a row: longer than the longest such pause, so that two programs with one address do not start over.
   */
  admissionProvenMs: 60_000,
  /** After so many such removals in a row `ADDRESS_SHARED` is reported. */
  sharedAddressTimes: 3,
  /**
   * A link that lived this long had been accepted by the other side, so after its end the pauses start at the shortest.
   */
  provenMs: 10_000,
  /** TCP keepalive on idle connections: the kernel notices a vanished host 8 to 9 s after this. */
  keepAliveMs: 5_000,
  /**
   * Bytes waiting for one peer from which `write` returns false. Native members grant one another so many bytes of
   * messages that the application has not taken, so it must be the same on all of them.
   */
  queueSoftBytes: 4 * 1024 * 1024,
  /**
   * Bytes waiting for one peer, unacknowledged ones included, from which `write` and `send` throw. What waits for links
   * that were never up may take as much in all, because ids cost nothing.
   */
  queueHardBytes: 16 * 1024 * 1024,
  /** A frame on a native connection whose other end is not known yet: a registration has some 1,500 bytes. */
  firstFrameBytes: 4_096,
  /** A control frame; a larger message, such as a long directory, goes in parts. */
  controlBytes: 65_536,
  /** The body of a numbered frame: a message with its number and topic. It should be the same on all members. */
  messageBytes: 1_048_576,
  /**
   * What may come on a stream before the application takes any of it: 0.7 ms worth at 3 Gbit/s, enough on a local
   * network. Measured on loopback, where requests beside a stream wait some four times as long as without one: with a
   * quarter less the stream is slower by a fifth or more, with a quarter more requests wait longer by a half. It must
   * be the same on all members.
   */
  streamWindowBytes: 262_144,
  /**
   * What the window of a stream grows to at most, however long the round trip: 160 MB/s over 100 ms. All streams of a
   * link together have at most half of `queueHardBytes` under way, so that messages find room.
   */
  streamWindowMaxBytes: 16 * 1024 * 1024,
  /**
   * By how much the windows of all streams of a link together grow beyond the first ones: as much as `queueHardBytes`,
   * because a peer that is slow to answer pings makes round trips as long as it likes.
   */
  streamGrowthBytes: 16 * 1024 * 1024,
  /** The bytes of a stream in one frame: some 0.5 ms at 1 Gbit/s, after which the next stream has its turn. */
  streamFrameBytes: 65_536,
  /**
   * Bytes of streams that wait for a connection in front of messages. Sockets have buffers of their own, so more would
   * only delay messages.
   */
  streamBacklogBytes: 65_536,
  /** Streams that one member may have open at another. With the first window of each that is 256 MiB. */
  streamsOpen: 1_024,
  /** Requests to one peer that have no reply yet: four times `requestsServed`, so that the peer decides. */
  requestsInFlight: 4_096,
  /** Requests of one peer that are being served; further ones are refused at once rather than late. */
  requestsServed: 1_024,
  /** What these weigh in all: as much as one peer may have waiting, so that large requests are bounded, too. */
  requestsServedBytes: 16 * 1024 * 1024,
  /**
   * What one value may take in memory, by the weights in docs/protocol/native.md: as much as the requests of one peer
   * in all. A table of 10,000 rows with 10 short columns weighs 11 MB, and 100,000 numbers with a fraction 3 MB. It
   * must be the same on all members.
   */
  valueBytes: 16 * 1024 * 1024,
  /**
   * What all peers together may make a member hold, by weight: what the program has not taken, what is being served,
   * and what is not acknowledged. An id costs nothing, so no bound for one peer is a bound. Chosen so that Node with
   * its usual heap, and twice this much, fits 1 GiB.
   */
  heldBytes: 256 * 1024 * 1024,
  /** What each peer may always have of that, however many there are: half of it for 1,024 peers. */
  heldPerPeerBytes: 131_072,
  /** After so long without a byte a connection is pinged. */
  probeMs: 5_000,
  /** After so long without a byte a connection is given up: two pings have had no answer. */
  silentMs: 15_000,
  /**
   * How long a member without a session stays listed. Longer than `silentMs`, so that the member itself notices first.
   */
  leaseMs: 20_000,
  /**
   * Between two dial-backs to a member without a session that others still hold links with: longer than it takes to
   * open a listener again.
   */
  recheckMs: 1_000,
  /** A dial-back and its answer. */
  challengeMs: 10_000,
  /**
   * Dial-backs open at once that are not slow. Further ones wait for their turn, and get 640 turns a second if nobody
   * answers: the 512 that one host may have pending take less than a second.
   */
  dialBacks: 64,
  /**
   * From here on a dial-back is slow, and delays nobody: a prompt listener answers within a few round trips. Those that
   * have had half that time may be counted as slow with it.
   */
  dialBackSlowMs: 100,
  /** Slow dial-backs at once. Beyond that the oldest one to the host that has the most is given up. */
  dialBacksSlow: 256,
  /**
   * Between two tries of a removal that the membership log rejected, and the time after which a newcomer that it
   * rejected may come again: long enough not to load a log that is away, short beside a lease.
   */
  logRetryMs: 1_000,
  /**
   * How long a newcomer waits for the answer of the membership log before it is told to come again; its slot stays taken
   * until the answer. Longer than a log that is shared takes to choose a new leader, shorter than `join` tries by default.
   */
  logAnswerMs: 10_000,
  /**
   * A server that shares its logs with others, and of which they see no sign for so long, is gone; its lease in the store is
   * as long. Longer than a store takes to choose a new leader, shorter than the lease of a member.
   */
  storeLeaseMs: 10_000,
  /** Between two signs of life of such a server: several may be late within half its lease. */
  storeBeatMs: 1_000,
  /** How long one endpoint of a store may take to answer before the next is asked: a healthy one takes some 10 ms. */
  storeAnswerMs: 2_000,
  /**
   * One answer of a store, or one message of a watch. Some 1,000 revisions come in one message, if they are behind: 20 MiB of
   * entries. What is read comes in pages.
   */
  storeAnswerBytes: 64 * 1024 * 1024,
  /** A change that the store has not been sent for so long is rejected, and whoever wanted it is told to come again. */
  storeQueueMs: 5_000,
  /** Reports of links that come within so long are written to the store together: it syncs its disk for each write. */
  storeReportMs: 100,
  /** Entries of a shared log between two snapshots, which delete those that they cover: some 200 KiB. */
  snapshotEntries: 512,
  /** Entries of the log that are kept; a member that is further behind gets the whole directory. */
  logEntries: 4_096,
  /**
   * Members that a directory may have, in all its parts and with the entries behind them: twice as many as a server has
   * in all. Their names and `meta` take some 18 MiB on the wire.
   */
  directoryMembers: 16_384,
  /**
   * Removed ids that a member remembers, so that it refuses a late hello from one: as many as the log keeps entries.
   */
  tombstones: 4_096,
  /** Entries that come within so long of the last update go out together in the next one. */
  updateGapMs: 10,
  /**
   * While several entries come within one gap, the gap grows: by this for each member of the mesh, and to no more than
   * `updateGapMs` for each entry. An update costs one write a member, measured as 20 to 80 microseconds, so a storm of
   * joins in one mesh takes at most a quarter of the server's time for its updates, and not all of it.
   */
  updateMemberMs: 0.3,
  /**
   * While nothing but members that join is to be sent, the gap is this for each member of the mesh, and no longer than
   * `joinGapMaxMs`. Every update wakes every member, and processes that are started together come one by one: so those of half
   * a second cost 64 members four updates and not each its own. Between joins with a longer pause nobody waits.
   */
  joinMemberMs: 2,
  /** See `joinMemberMs`. */
  joinGapMaxMs: 250,
  /** Changes of links that come within so long of the last report go out together in the next one. */
  reportMs: 20,
  /**
   * From when the capacity is first reached to the end of a mesh that is not complete by then. The end names the members
   * and pairs that are missing.
   */
  finishMs: 60_000,
  /**
   * A link that has been down for so long, though the directory lists the peer, is reported to its owner. Longer than two of the
   * longest pauses between dials: what has passed by then is no restart and no short trouble of the network.
   */
  brokenMs: 60_000,
  /** A pair that has been missing for so long is reported as missing; most are linked within a second. After half of it the owner of the link says how far it has come. */
  degradedMs: 2_000,
  /**
   * The least time between two reports of missing pairs, whatever members do to their links. With `degradedMs`, and one
   * look a second, no pair is reported later than 5 s after it broke: 4 s here, and the rest for the ways to the server and back.
   */
  degradedGapMs: 2_000,
  /** What one report of missing pairs may take for all members together; in a large mesh it names fewer pairs. */
  degradedBytes: 1_048_576,
  /**
   * The least time between two reports that a mesh is complete, while changes are rare. It doubles while the mesh keeps
   * changing between complete and incomplete, because one member that reports a link up and down can cause that.
   */
  completeGapMinMs: 100,
  /** What that time grows to at most. A member that must know at once uses `watch`. */
  completeGapMaxMs: 2_000,
  /** Missing pairs that are named in one message or sentence; the others are counted. */
  namedPairs: 32,
  /**
   * Members of one mesh, and those on the way in. Every two of them hold a connection, and a machine full of processes
   * has some hundred. A `capacity` takes its place.
   */
  membersPerMesh: 1_024,
  /**
   * The same for all meshes of one server together, with those that wait in line: as many as it may have connections.
   */
  members: 8_192,
  /** Meshes on one server: more than anybody runs by hand, and each costs no more than its directory. */
  meshes: 256,
  /** Grants of one member that a server passes on in a second: one for each peer, if none of them can be dialed. */
  grantsPerSecond: 1_024,
  /** Of these, to members at other servers: each is written to the store that they share. */
  grantsRelayedPerSecond: 32,
  /** Grants that wait for a session which is being sent something else. More are dropped: each runs out at its owner. */
  grantsWaiting: 64,
  /** Keys that one member may hold or wait for: a program names its jobs, and each of them costs the server a search. */
  claimsPerMember: 256,
  /** Keys of one mesh that are held or waited for: a directory that is sent whole names them, in some 100 KiB. */
  claimsPerMesh: 1_024,
  /** Members that wait for keys of one mesh, counted once for each key: 1,024 members may all wait for 4. */
  claimPlacesPerMesh: 4_096,
  /** Keys that are held or waited for in all meshes of one server: two for each member that it may have; some 7 MB. */
  claims: 16_384,
  /**
   * Bytes of frames that may be taken before they are acknowledged: an acknowledgement costs both ends a system call,
   * and the sender keeps these bytes until then.
   */
  acknowledgeBytes: 1_048_576,
  /** Time that may pass before frames that were taken are acknowledged. */
  acknowledgeMs: 50,
  /** Bytes of frames that a connection is given at once. The rest waits, so that a ping does not wait behind it. */
  handedBytes: 262_144,
  /**
   * The body of a frame with several messages: short enough to lie within one read of a socket, most often, and long enough
   * for some hundred small messages. 0: each message is a frame, and this member tells its peers that it takes no others.
   */
  batchBytes: 16_384,
  /**
   * Events that one loop over `events()` may leave unread: a burst of some thousand joins, at two or three events each.
   */
  eventsUnread: 4_096,
  /** Programs that look at the status of meshes at once: some dashboards and terminals, each of which is sent it again and again. */
  observers: 64,
  /** The time between two looks at a mesh for those who look at it: quick for people, and cheap for the server. */
  observeMs: 500,
  /** The time between two measurements of a member's links, while somebody looks at a pair: as often as a page asks. */
  measureMs: 1_000,
  /** Members that measure their links at once: the ends of some pairs for each of those who look. Each tells of all its links. */
  measuring: 64,
  /** Missing pairs that a status names: more than anybody reads, in some 200 KB. The others are counted, and drawn. */
  statusPairs: 1_000,
  /** Members that have gone lately, which a status names. */
  statusDepartures: 100,
  /**
   * The longest pause between two tries to reach a server that has gone: with `newcomerHoldMs` a newcomer is in within 2 s of
   * its return, and a mesh whole again within 3 s. 1,024 members cost a machine whose server is away some 1,800 refused connections a
   * second.
   */
  serverRedialMaxMs: 750,
  /**
   * How long a server that has just begun the log of a mesh lets a newcomer wait that was looking for it, so that members of an
   * earlier log come first, and no order falls below theirs though the clock was set back: one `serverRedialMaxMs`, after
   * which each member has dialed, and a quarter of a second to say who it is.
   */
  newcomerHoldMs: 1_000,
  /** The longest pause that a server may ask for before it is tried again; it asks for 5 s when it is busy. */
  retryMaxMs: 60_000,
  /**
   * Connections of one machine: handshakes, members and dials together. Under Node it is derived from the descriptors
   * that there are, and with it the bounds for parts of it. The last eighth is for refusals.
   */
  connections: 8_192,
} as const;

/** The bounds that a machine keeps to. */
export type Limits = { readonly [Name in keyof typeof defaultLimits]: number };

/**
 * How long a member leads that is not heard by the server, or does not hear it. No shorter than a connection may be silent,
 * or a member that nothing is wrong with would be passed over.
 */
export function leaderLeaseMs({ leaseMs, silentMs }: Pick<Limits, "leaseMs" | "silentMs">): number {
  return Math.max(leaseMs, silentMs);
}
