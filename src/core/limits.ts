/**
 * Every bound of the project, in one place, each with the reason for its value. Times are in milliseconds, sizes in
 * bytes. Machines take these as an option, so that tests and simulations can tighten them.
 */
export const defaultLimits = {
  /**
   * How long a connection may say nothing while the house is nearly empty. Ten minutes, so that a person who takes the
   * steps one by one in a debugger gets in; it costs one descriptor while hardly any are taken.
   */
  firstByteMs: 600_000,
  /** The same once `handshakesCrowded` are pending: from then on silence is somebody else's place. */
  firstByteCrowdedMs: 5_000,
  /** From the first byte to the end of the handshake. A split message loses at most a few retransmissions (3 s each). */
  handshakeMs: 15_000,
  /**
   * Connections that have not said who they are, in all: as many as the kernel may hand over in one turn of the loop,
   * because Node accepts a whole backlog before it reads the first byte of any. They cost about 16 MiB; in the middle of a
   * TLS handshake each costs some 60 KiB, so with a secret 240 MiB are possible.
   */
  handshakesPending: 4_096,
  /** The same from one host, loopback exempt: more members than a machine starts at once. */
  handshakesPendingPerHost: 512,
  /** From so many on the house counts as crowded. */
  handshakesCrowded: 64,
  /**
   * How long a connection that is refused for want of room may take for its first byte, which tells in which dialect to say
   * so. Who has something to say sends it at once, and it comes within a few retransmissions.
   */
  refusalMs: 1_000,
  /** Such connections at once; beyond that the oldest waits no longer. */
  refusalsPending: 256,
  /**
   * How long an ambiguous last port may wait for another digit. Measured gaps inside a split message stay below 500 ms in
   * all cases at 20 ms round trip and 5 % loss, and in 99.8 % at 100 ms.
   */
  quietMs: 500,
  /** Our own writer's pause before payload, when its own port is ambiguous: the reader's quiet period and some margin. */
  payloadPauseMs: 600,
  /** Between two messages to one simple reader, which takes one `recv()` for one message; also from hello to payload. */
  messageGapMs: 50,
  /** From half-closing to closing: time for the other side to read the last message and close. */
  lingerMs: 1_000,
  /**
   * How long what is queued for a peer may take to go out after the end; what is left then is lost, and said. Half of the
   * 10 s that `docker stop` grants before it kills: a peer that hangs must not make a leave look like a crash.
   */
  drainMs: 5_000,
  /** From the last list at capacity to the teardown: time for members that cannot report their links to make them. */
  settleMs: 2_000,
  /** A list; 64 KiB hold about 2,900 members. Simple readers take far less, see `listWarnBytes`. */
  listBytes: 65_536,
  /**
   * What lists to all classic members may take in a second while the mesh grows. 64 members need less; 500 are told each
   * 0.35 s at most.
   */
  listRateBytes: 16 * 1024 * 1024,
  /**
   * The same while members come and go and the mesh does not grow: then the time between two lists doubles until it has
   * come to this, or to `listGapMaxMs`.
   */
  listChurnRateBytes: 1_048_576,
  /** How long a list to all waits at most because members come and go, unless it is longer than that rate allows. */
  listGapMaxMs: 5_000,
  /** From here on a reader with a buffer of 1,024 bytes is about to break. */
  listWarnBytes: 1_000,
  /** What the server says at the end, as a member keeps it for its log. */
  endTextBytes: 512,
  /** A hello whose sender no list has named yet. Lists follow one another by `messageGapMs`, so 5 s is a generous delay. */
  parkedMs: 5_000,
  /** Parked hellos in all: as many as handshakes. */
  parked: 256,
  /** The memory for what parked connections have sent behind their hellos, in all: as much as one peer may have queued. */
  parkedBytes: 16 * 1024 * 1024,
  /** Dials under way at once that are not slow. More would only queue in the kernel and let their deadlines starve. */
  dialsInFlight: 8,
  /**
   * From here on a dial without an answer is slow: it goes on, but others need not wait for its place. On a local network
   * an answer takes a few milliseconds.
   */
  dialSlowMs: 100,
  /**
   * As many dials as are slow may be under way that are not, up to so many. Then 1,000 peers that never answer are all
   * being dialed within a second, because their number doubles every `dialSlowMs`.
   */
  dialsWidened: 256,
  /**
   * Slow dials that are kept, but never more than a quarter of `connections`; above that the oldest is given up. If the
   * members of a mesh of 1,000 all answered, they would take as many connections.
   */
  dialsSlow: 1_024,
  /** One dial: three SYN retransmissions (1, 2, 4 s) and a margin. */
  dialMs: 10_000,
  /** The first pause after a failed dial; doubles with each further one. */
  redialMinMs: 50,
  /** The longest such pause. */
  redialMaxMs: 30_000,
  /**
   * The pause before a link that was up is dialed again. The end of one link is most often the end of the mesh, whose
   * teardown is on its way.
   */
  relinkMs: 1_000,
  /**
   * A member that was removed sooner than this after it got in joins anew after a pause, which doubles with each time in a
   * row: longer than the longest such pause, so that two programs with one address do not begin from the start.
   */
  admissionProvenMs: 60_000,
  /** After so many of them in a row it is said that two programs answer at this address. */
  sharedAddressTimes: 3,
  /** A link that lived this long had been taken by the other side, so the next failure starts at the shortest pause. */
  provenMs: 10_000,
  /** TCP keepalive on idle connections: the kernel notices a vanished host 8 to 9 s after this. */
  keepAliveMs: 5_000,
  /**
   * Bytes waiting for one peer from which `write` returns false. Members that speak native grant one another so many bytes
   * of messages that the application has not taken, so it is the same on all of them.
   */
  queueSoftBytes: 4 * 1024 * 1024,
  /**
   * Bytes waiting for one peer from which `write` and `send` throw; what is not acknowledged waits, too. What waits for
   * links that were never up may have as much in all, because ids cost nothing.
   */
  queueHardBytes: 16 * 1024 * 1024,
  /** The first frame on a native connection, before it is known who sends it: a registration has some 1,500 bytes. */
  firstFrameBytes: 4_096,
  /** A control frame; what is longer, such as a large directory, goes in parts. */
  controlBytes: 65_536,
  /** The body of a numbered frame: a message with its number and its topic. */
  messageBytes: 1_048_576,
  /**
   * What may come on a stream before the application has taken any of it: 0.7 ms worth at 3 Gbit/s, so that it suffices on
   * a local network. Measured on loopback, where requests beside a stream wait some four times as long as without one: with
   * a quarter less that stream is slower by a fifth or more, with a quarter more requests wait longer by a half. The same
   * on all members.
   */
  streamWindowBytes: 262_144,
  /**
   * What the window of a stream grows to at most, however long the round trip: 160 MB/s over 100 ms. All streams of a link
   * together have no more under way than half of `queueHardBytes`, so that messages still find room.
   */
  streamWindowMaxBytes: 16 * 1024 * 1024,
  /**
   * By how much the windows of all streams of a link together grow beyond the first ones: no more than `queueHardBytes`,
   * because a peer that is slow to answer pings makes round trips as long as it likes.
   */
  streamGrowthBytes: 16 * 1024 * 1024,
  /** The longest piece of a stream in one frame: some 0.5 ms at 1 Gbit/s, after which it is another stream's turn. */
  streamFrameBytes: 65_536,
  /**
   * What streams put in front of messages at most. Sockets have buffers of their own, so more would only make messages
   * wait.
   */
  streamBacklogBytes: 65_536,
  /** Streams that one member may have opened at another. With the first window of each that is 256 MiB. */
  streamsOpen: 1_024,
  /** Requests to one peer that have no reply yet: four times what it answers at once, so that it is it that decides. */
  requestsInFlight: 4_096,
  /** Requests of one peer that are being answered; more than that is refused at once rather than late. */
  requestsServed: 1_024,
  /** What these weigh in all, or one alone: as much as one peer may have waiting, so that big ones are bounded, too. */
  requestsServedBytes: 16 * 1024 * 1024,
  /**
   * What one value may take in memory, as PROTOCOL.md weighs it: what a peer may have in work in all. A table of 10,000 rows
   * with 10 short columns weighs 11 MB, and 100,000 numbers with a fraction 3 MB. The same on all members.
   */
  valueBytes: 16 * 1024 * 1024,
  /**
   * What all peers together may make a member hold, by weight: what the program has not taken, what is in work, and what is
   * not acknowledged. An id costs nothing, so no bound for one peer is a bound. Chosen so that Node with its usual heap, and
   * twice this much, fits 1 GiB.
   */
  heldBytes: 256 * 1024 * 1024,
  /** What each peer may always have of that, however many there are: for 1,024 of them that is half of it. */
  heldPerPeerBytes: 131_072,
  /** A connection on which nothing has come for so long is asked whether it lives. */
  probeMs: 5_000,
  /** A connection on which nothing has come for so long is given up: two probes have gone unanswered. */
  silentMs: 15_000,
  /** How long a member without a session stays listed; longer than `silentMs`, or it would be gone before it can know. */
  leaseMs: 20_000,
  /**
   * Between two dial-backs to the address of one member that is kept by a witness: a listener that is opened anew takes less.
   */
  recheckMs: 1_000,
  /** A dial-back and its answer. */
  challengeMs: 10_000,
  /**
   * Dial-backs under way at once, those aside that are slow. Further ones wait for their turn, and 640 in a second get it
   * if nobody answers: the 512 that one host may have pending take less than a second.
   */
  dialBacks: 64,
  /**
   * From here on a dial-back is slow, and delays nobody: a prompt listener answers within a few round trips. Those that have
   * had half that time may be counted as slow with it.
   */
  dialBackSlowMs: 100,
  /** Slow dial-backs at once. Beyond that the oldest one to the host that has the most is given up. */
  dialBacksSlow: 256,
  /**
   * Between two tries of a removal that the membership log rejected, and the time after which a newcomer that it rejected
   * may come again: long enough not to load a log that is away, short beside a lease.
   */
  logRetryMs: 1_000,
  /** Entries of the log that are kept; who is further behind gets the whole directory. */
  logEntries: 4_096,
  /**
   * Members that a directory may name, in all its parts and with the entries behind them: twice as many as a server has
   * in all. Their names and what they say of themselves take some 18 MiB on the wire.
   */
  directoryMembers: 16_384,
  /** Removed ids that a member remembers, so that a late hello from one is told so: as many as the log keeps entries. */
  tombstones: 4_096,
  /** Entries that come within so long of the last update go out together in the next one. */
  updateGapMs: 10,
  /**
   * While several entries come within one gap, it grows: by so much for each member of the mesh, and to no more than
   * `updateGapMs` for each entry. An update costs one write a member, measured as 20 to 80 microseconds, so a storm of joins
   * in one mesh takes at most a quarter of the server's time for its updates, and not all of it.
   */
  updateMemberMs: 0.3,
  /** Changes of links that come within so long of the last report go out together in the next one. */
  reportMs: 20,
  /** From when the capacity is first reached to the end of a mesh that is not whole by then. */
  finishMs: 60_000,
  /** A pair that has been missing for so long is told as missing; most are linked within a second. */
  degradedMs: 2_000,
  /**
   * The least time between two reports of missing pairs, whatever members do to their links. With `degradedMs` and one
   * look a second meanwhile, no pair is told later than 5 s after it broke.
   */
  degradedGapMs: 2_000,
  /** What one report of missing pairs may take for all members together; in a large mesh it names fewer pairs. */
  degradedBytes: 1_048_576,
  /**
   * The least time between two reports that a mesh is complete, as long as changes are rare. It doubles while the mesh goes
   * from complete to incomplete and back, because one member that reports a link up and down can make it do so.
   */
  completeGapMinMs: 100,
  /** What that time grows to at most: whoever has to know at once says so with `watch`. */
  completeGapMaxMs: 2_000,
  /** Missing pairs that are named in one message or sentence; the rest is counted. */
  namedPairs: 32,
  /**
   * Members of one mesh, and those on the way in. Every two of them hold a connection, and whoever starts a machine full of
   * processes has some hundred. A `capacity` takes its place.
   */
  membersPerMesh: 1_024,
  /** The same of all meshes of one server together, with those who stand in line: as many as it may have connections. */
  members: 8_192,
  /** Meshes on one server: as many as anybody runs by hand, and each costs its directory only. */
  meshes: 256,
  /**
   * Bytes of frames that may be taken before they are acknowledged: an acknowledgement costs both ends a system call, and
   * the sender keeps so much more.
   */
  acknowledgeBytes: 1_048_576,
  /** Time that may pass before frames that were taken are acknowledged. */
  acknowledgeMs: 50,
  /** Bytes of frames that a connection is given at once; the rest waits, so that a probe does not wait behind it. */
  handedBytes: 262_144,
  /** Changes that one iteration over them may leave unread: a burst of some thousand joins, at two or three changes each. */
  changesUnread: 4_096,
  /** The longest pause between two tries to reach a server that has gone. */
  serverRedialMaxMs: 5_000,
  /** The longest pause that a server may ask for before it is tried again; it names 5 s when it is busy. */
  retryMaxMs: 60_000,
  /**
   * Connections of one machine, handshakes, members and dials together. The Node face derives it from the descriptors that
   * there are, and with it the bounds for parts of them. The last eighth is for telling that there is no more.
   */
  connections: 8_192,
} as const;

/** The bounds that a machine runs by. */
export type Limits = { readonly [Name in keyof typeof defaultLimits]: number };
