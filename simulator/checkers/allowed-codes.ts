/**
 * The codes that a machine may log, and when a code is a violation.
 */

/** Codes that a member which keeps to the protocol may cause, whatever faults there are. */
export const allowedMemberCodes: ReadonlySet<string> = new Set([
  ...["BAD_FRAME", "BAD_PREFACE", "FRAME_TOO_LARGE", "HELLO_AT_SERVER", "ID_IN_USE", "NOT_OWNER", "SESSION_LOST"],
  ...["TOO_MANY_MESHES", "UNEXPECTED_MESSAGE", "UNKNOWN_MESSAGE", "VERSION_MISMATCH", "WRONG_DIALECT", "WRONG_MESH"],
]);

/** Codes that no member may log while there are no faults. */
export const allowedRefusalCodes: ReadonlySet<string> = new Set([
  ...["ALREADY_LINKED", "WRONG_DIRECTION", "UNKNOWN_PEER", "HELLO_FROM_SELF", "BAD_HELLO"],
  ...["STALE_ATTEMPT", "WRONG_TARGET", "GONE", "UNAWAITED_CHALLENGE", "SILENT", "SERVER_AWAY", "PARKING_FULL"],
]);
