/**
 * What a machine notes about others, and when that is somebody's fault.
 */

/** What nobody is blamed for who keeps to the protocol, whatever goes wrong around it. */
export const allowedMemberCodes: ReadonlySet<string> = new Set([
  ...["BAD_FRAME", "BAD_PREFACE", "FRAME_TOO_LARGE", "HELLO_AT_SERVER", "ID_IN_USE", "NOT_OWNER", "SESSION_LOST"],
  ...["TOO_MANY_MESHES", "UNEXPECTED_MESSAGE", "UNKNOWN_MESSAGE", "VERSION_MISMATCH", "WRONG_DIALECT", "WRONG_MESH"],
]);

/** What a member has no reason to note while nothing goes wrong. */
export const allowedRefusalCodes: ReadonlySet<string> = new Set([
  ...["ALREADY_LINKED", "WRONG_DIRECTION", "UNKNOWN_PEER", "HELLO_FROM_SELF", "BAD_HELLO"],
  ...["STALE_ATTEMPT", "WRONG_TARGET", "GONE", "UNAWAITED_CHALLENGE", "SILENT", "SERVER_AWAY", "PARKING_FULL"],
]);
