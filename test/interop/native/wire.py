"""The wire of the native dialect: the preface, frames, and what the fields of control messages may hold.

Written from PROTOCOL.md alone, with the standard library alone. `vectors.py` puts it to the test.
"""

import ipaddress
import json
import re
import struct

PREFACE = b"\xf7fmesh\x02\x02"
CONTROL, ACKNOWLEDGEMENT, PING, PONG, NUMBERED = 1, 3, 4, 5, range(0x10, 0x20)
FIRST_FRAME_BYTES, CONTROL_BYTES, MESSAGE_BYTES = 4_096, 65_536, 1_048_576


class Refusal(Exception):
    """What the other side says is to be refused, with this code."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


# What the fields of control messages may hold. Each check returns the value as it is to be used, or raises ValueError.


def fits(condition, value):
    if not condition:
        raise ValueError(value)
    return value


def text(pattern):
    return lambda value: fits(isinstance(value, str) and re.fullmatch(pattern, value), value)


def whole(least, most=2**53 - 1):
    def read(value):
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return int(fits(is_number and value % 1 == 0 and least <= value <= most, value))

    return read


def name(value):
    printable = isinstance(value, str) and not re.search("[\x00-\x1f\x7f-\x9f\ud800-\udfff]", value)
    return fits(printable and 1 <= len(value.encode()) <= 64, value)


def meta(value):
    compact = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return fits(isinstance(value, dict) and len(compact.encode("utf-8", "surrogatepass")) <= 1_024, value)


def sentence(value):
    shown = fits(isinstance(value, str), value)[:500]
    return re.sub("[\x00-\x1f\x7f-\x9f\ud800-\udfff]", "\ufffd", shown)


def measured_ms(value):
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return fits(value is None or (number and 0 <= value <= 86_400_000), value)


def local(value):
    parts = value.removeprefix("unix:/").split("/")
    allowed = all(letter.isalnum() or letter in "/._@:+=~%-" for letter in value.removeprefix("unix:"))
    normal = value.startswith("unix:/") and not {"", ".", ".."} & set(parts)
    return fits(normal and allowed and len(value.removeprefix("unix:").encode()) <= 107, value)


def address(value):
    if isinstance(value, str) and value.startswith("unix:"):
        return local(value)
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):([1-9][0-9]{0,4})", fits(isinstance(value, str), value))
    host = ipaddress.ip_address(fits(match, value) and (match[1] or match[2]))
    fits((host.version == 6) == (match[1] is not None) and int(match[3]) < 65_536, value)
    host = getattr(host, "ipv4_mapped", None) or host
    fits(not host.is_unspecified, value)
    return f"[{host}]:{match[3]}" if host.version == 6 else f"{host}:{match[3]}"


def rows(*checks):
    def read(value):
        fits(isinstance(value, list) and all(isinstance(row, list) and len(row) >= len(checks) for row in value), value)
        return [[check(item) for check, item in zip(checks, row)] for row in value]

    return read


def items(read, most=10**6):
    return lambda value: [read(item) for item in fits(isinstance(value, list) and len(value) <= most, value)]


def objects(read):
    return items(lambda item: read(fits(isinstance(item, dict), item)))


def fields(known, given):
    """The known fields of an object. A `?` at the end of a name means that it may be absent."""
    read = {}
    for field, check in known.items():
        if field[-1] != "?" or field[:-1] in given:
            field = field.rstrip("?")
            read[field] = check(given[field])
    return read


def entry(given):
    known = ENTRIES[fits(isinstance(given.get("type"), str) and given["type"] in ENTRIES, given) and given["type"]]
    return {"type": given["type"], **fields(known, given)}


ID, ONE, ZERO, YES = text("[0-9a-f]{32}"), whole(1), whole(0), lambda value: fits(value is True, value)
SELF = {"id": ID, "address": address, "name?": name, "meta?": meta}
LISTED = {"order": ONE, "dialect": text("classic|native"), **SELF}
SERVERS = items(address, 16)
CLAIMED = 2**53 - 2**32  # The greatest order or revision of another log that a member may name
DEPARTURE = {"revision": ONE, "id": ID, "reason": sentence}
ENTRIES = {
    "joined": {"revision": ONE, **LISTED},
    "replaced": {"revision": ONE, "replaces": ID, **LISTED},
    "left": DEPARTURE,
    "lost": DEPARTURE,
    "claimed": {"revision": ONE, "key": name, "holder": ID, "token?": ONE},
    "unclaimed": {"revision": ONE, "key": name, "reason": sentence},
}
CLAIM = {"key": name, "holder": ID, "token": ONE}
STAGE = text("waiting|dialing|hello|refused|broken|unreported|classic")
UNLISTED = objects(lambda given: fields({"id": ID, "order": ONE, "address": address}, given))
MEMBERS = objects(lambda given: fields(LISTED, given))
CONTROLS = {
    "register": {"mesh": name, **SELF, "waited?": YES, "looked?": YES},
    "resume": {"mesh": name, **SELF, "log": ID, "revision": ZERO, "order": whole(1, CLAIMED), "highest": whole(0, CLAIMED)},
    "known": {"members": MEMBERS, "gone": items(ID), "more?": YES},
    "proof": {"nonce": ID},
    "links": {"full?": YES, "up": rows(ID, ZERO), "down": rows(ID, STAGE, ZERO, sentence), "unlisted?": UNLISTED},
    "observe": {"mesh": name},
    "status": {"part": lambda value: fits(isinstance(value, str), value), "more?": YES},
    "probe": {"mesh": name, "id": ID, "address": address},
    "probed": {
        "reached": lambda value: fits(isinstance(value, bool), value),
        "reason": sentence,
        "observed": address,
        "at": ZERO,
        "members": ZERO,
        "waits?": YES,
        "code?": text("[A-Z][A-Z_]{0,39}"),
        "message?": sentence,
    },
    "measured": {"links": rows(ID, measured_ms, ZERO)},
    "measure": {"everyMs": whole(0, 60_000)},
    "watch": {"size": ONE},
    "leave": {"reason": sentence},
    "renew": {"number": ONE},
    "claim": {"key": name, "wait?": YES},
    "unclaim": {"key": name, "token?": ONE},
    "held": {"claims": rows(name, ONE)},
    "renewed": {"number": ONE},
    "unclaimable": {"key": name, "code": text("[A-Z][A-Z_]{0,39}"), "message": sentence, "holder?": ID},
    "grant": {"owner": ID, "later": ID, "attempt": ONE, "failed?": sentence},
    "admitted": {"log": ID, "order": ONE, "revision": ONE, "observed": address, "leaseMs": ONE, "servers?": SERVERS},
    "servers": {"servers": SERVERS},
    "directory": {
        "revision": ONE,
        "members": MEMBERS,
        "claims?": objects(lambda given: fields(CLAIM, given)),
        "gone?": items(ID),
        "more?": YES,
    },
    "entries": {"entries": objects(entry)},
    "leader": {"id": ID},
    "waiting": {"place": ONE},
    "complete": {"revision": ONE, "members": ONE, "links": ZERO, "unverified": ZERO},
    "degraded": {
        "revision": ONE,
        "count": ZERO,
        "missing": rows(ID, ID, STAGE, ZERO, sentence, ZERO),
        "unlisted?": UNLISTED,
    },
    "teardown": {"reason": sentence, "deadlineMs": ZERO},
    "release": {"reason": sentence},
    "challenge": {"mesh": name, "id": ID, "nonce": ID},
    "check": {"mesh": name, "id": ID},
    "here": {"id": ID},
    "hello": {"mesh": name, "from": ID, "to": ID, "attempt": ONE, "since": ZERO, "received": ZERO},
    "answer": {"attempt": ONE, "since": ONE, "received": ZERO},
    "goodbye": {"reason": sentence, "received": ZERO},
    "refuse": {"code": text("[A-Z][A-Z_]{0,39}"), "message": sentence, "highest?": ZERO, "retryMs?": ZERO},
}


# What is behind the number in numbered frames: by the kind its name and its fields, in their order. The width of a field is
# in bytes; "text" is a length in one byte and so much UTF-8, "topic" the same up to the end of the frame, of 255 bytes at
# most, "sentence" the same of any length, and "bytes" is the rest as it is.
NAMES = {
    0x10: ("message", {"form": 1, "topic": "text", "payload": "bytes"}),
    0x11: ("request", {"request": 4, "form": 1, "topic": "text", "payload": "bytes"}),
    0x12: ("reply", {"request": 4, "form": 1, "payload": "bytes"}),
    0x13: ("failure", {"request": 4, "code": "text", "message": "sentence"}),
    0x14: ("cancel", {"request": 4}),
    0x18: ("open", {"stream": 4, "topic": "topic"}),
    0x19: ("data", {"stream": 4, "bytes": "bytes"}),
    0x1A: ("end", {"stream": 4}),
    0x1B: ("abort", {"stream": 4, "code": "text", "message": "sentence"}),
    0x1C: ("credit", {"flow": 4, "limit": 6}),
}
KINDS = {name: kind for kind, (name, _) in NAMES.items()}


def take(body, count):
    return fits(len(body) >= count, body)[:count], body[count:]


def read_field(how, body):
    """One field, and what is behind it."""
    if isinstance(how, int):
        digits, rest = take(body, how)
        return int.from_bytes(digits, "big"), rest
    if how == "text":
        length, rest = take(body, 1)
        written, rest = take(rest, length[0])
        return written.decode("utf-8"), rest
    if how == "bytes":
        return body, b""
    return fits(how == "sentence" or len(body) <= 255, body).decode("utf-8"), b""


def read_numbered(kind, body):
    """A frame with its number. One that has none may be sent again; a content that cannot be ends the link."""
    if len(body) < 6:
        raise Refusal("BAD_FRAME", f"a frame of kind {kind} has no number")
    content, rest = {"number": int.from_bytes(body[:6], "big")}, body[6:]
    try:
        content["type"], known = NAMES[kind]
        for field, how in known.items():
            content[field], rest = read_field(how, rest)
        fits(not rest, rest)
        fits(content["type"] not in ("request", "open") or content.get("request", content.get("stream")) > 0, content)
        fits(content.get("form", 0) in (0, 1) or (content["form"] == 2 and not content["payload"]), content)
        fits("code" not in content or re.fullmatch("[!-~]{1,64}", content["code"]), content)
        fits(content["type"] != "data" or content["bytes"], content)
    except (ValueError, KeyError) as error:
        raise Refusal("SESSION_LOST", f"a frame of kind {kind} cannot be read") from error
    return content


def no_number(token):
    raise ValueError(token)


def read_control(body):
    """The message in a control frame, None if it may be ignored."""
    try:
        given = json.loads(body.decode("utf-8"), parse_constant=no_number)
        kind = fits(isinstance(given, dict) and isinstance(given.get("type"), str), given) and given["type"]
        if kind not in CONTROLS:
            if given.get("optional") is True:
                return None
            raise Refusal("UNKNOWN_MESSAGE", f"there is no message {kind!r}")
        return {"type": kind, **fields(CONTROLS[kind], given)}
    except (ValueError, KeyError, OverflowError, RecursionError) as error:
        raise Refusal("BAD_FRAME", f"a control frame cannot be read: {type(error).__name__}") from error


def read_frame(kind, body):
    """What a frame holds as an object with a type, None if it may be ignored."""
    if kind == CONTROL:
        return read_control(body)
    if kind in NUMBERED:
        return read_numbered(kind, body)
    if kind == ACKNOWLEDGEMENT:
        if len(body) != 6:
            raise Refusal("BAD_FRAME", "an acknowledgement cannot be read")
        return {"type": "acknowledgement", "number": int.from_bytes(body, "big")}
    if kind in (PING, PONG):
        return {"type": "ping" if kind == PING else "pong"}
    if kind >= 0x80:
        return None
    raise Refusal("UNKNOWN_MESSAGE", f"there is no frame of kind {kind}")


def encode_frame(kind, body=b""):
    return struct.pack(">IB", len(body), kind) + body


def encode_control(kind, **given):
    written = json.dumps({"type": kind, **given}, separators=(",", ":"), ensure_ascii=False)
    return encode_frame(CONTROL, written.encode())


def encode_field(how, value):
    if isinstance(how, int):
        return value.to_bytes(how, "big")
    written = value if how == "bytes" else value.encode()
    return bytes([len(written)]) + written if how == "text" else written


def encode_numbered(name, number, **given):
    """`given` are the fields of this kind by their names in `NAMES`."""
    _, known = NAMES[KINDS[name]]
    body = b"".join(encode_field(how, given[field]) for field, how in known.items())
    return encode_frame(KINDS[name], number.to_bytes(6, "big") + body)


def encode_acknowledgement(number):
    return encode_frame(ACKNOWLEDGEMENT, number.to_bytes(6, "big"))


class Reader:
    """Cuts a stream into the preface and frames, whatever the pieces it comes in."""

    def __init__(self, control_bytes=CONTROL_BYTES, message_bytes=MESSAGE_BYTES):
        self.limits = (control_bytes, message_bytes)
        self.buffer = bytearray()
        self.preface = None

    def push(self, data):
        """Yields the preface once, then what each frame holds. Raises Refusal; then nothing more is to be read."""
        self.buffer += data
        if self.preface is None:
            if not PREFACE.startswith(bytes(self.buffer[:6])):
                raise Refusal("BAD_PREFACE", "what came first is no preface")
            if len(self.buffer) < 8:
                return
            self.preface = lowest, highest = self.buffer[6], self.buffer[7]
            if not 1 <= lowest <= highest:
                raise Refusal("BAD_PREFACE", "these versions are no range")
            del self.buffer[:8]
            yield {"type": "preface", "lowest": lowest, "highest": highest}
        while len(self.buffer) >= 5:
            length, kind = struct.unpack_from(">IB", self.buffer)
            if length > self.limits[kind in NUMBERED]:
                raise Refusal("FRAME_TOO_LARGE", f"a frame of kind {kind} announces {length} bytes")
            if len(self.buffer) < 5 + length:
                return
            body = bytes(self.buffer[5 : 5 + length])
            del self.buffer[: 5 + length]
            content = read_frame(kind, body)
            if content is not None:
                yield content
