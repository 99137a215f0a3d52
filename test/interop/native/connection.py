"""A connection of the native dialect, and what one end of a link keeps. Written from PROTOCOL.md alone."""

import collections
import os
import selectors
import socket
import struct
import time

import wire

# Seconds, as PROTOCOL.md has them under "Timers and limits".
PROBE, SILENT, LINGER = 5, 15, 1

# What is granted on flow 0 at first: `queueSoftBytes`.
WINDOW = 4 * 1024 * 1024


class Connection:
    """One connection. `hear` takes what comes, `gone` hears once that nothing more will; both may be exchanged."""

    def __init__(self, member, sock, hear, gone, connected=None):
        self.member, self.sock, self.hear, self.gone, self.connected = member, sock, hear, gone, connected
        self.reader = wire.Reader() if connected else wire.Reader(wire.FIRST_FRAME_BYTES, wire.FIRST_FRAME_BYTES)
        self.out = bytearray()
        self.is_greeted = self.is_finished = self.is_half_closed = False
        self.heard_at = time.monotonic()
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        events = selectors.EVENT_WRITE if connected else selectors.EVENT_READ
        member.selector.register(sock, events, self.ready)
        member.connections.add(self)

    def control(self, kind, **given):
        self.send(wire.encode_control(kind, **given))

    def send(self, frame):
        if self.sock is None or self.is_finished:
            return
        self.out += frame if self.is_greeted else wire.PREFACE + frame
        self.is_greeted = True
        self.write()

    def trust(self):
        self.reader.limits = (wire.CONTROL_BYTES, wire.MESSAGE_BYTES)

    def watch(self):
        """Probes the other side when it is silent, and gives it up in the end."""
        silent = time.monotonic() - self.heard_at
        if silent >= SILENT:
            return self.close("SILENT")
        if silent >= PROBE:
            self.send(wire.encode_frame(wire.PING))
        self.member.after(PROBE if silent >= PROBE else PROBE - silent, self.watch, ("pulse", self))

    def refuse(self, code, message, **more):
        """L14: a reset would overtake the reason, so it half-closes and reads on."""
        self.control("refuse", code=code, message=message, **more)
        self.finish(f"{code} {message}")

    def finish(self, reason):
        """Half-closes; nothing more that comes is heard."""
        self.half_close()
        self.tell_gone(reason)

    def half_close(self):
        """Sends nothing more behind what was sent, and hears on until the other side closes, but not for long."""
        if self.sock is not None and not self.is_finished:
            self.is_finished = True
            self.member.after(LINGER, self.close, ("linger", self))
            self.write()

    def close(self, reason="closed", reset=False):
        if self.sock is None:
            return
        self.member.selector.unregister(self.sock)
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()
        self.sock = None
        self.tell_gone(reason)
        self.member.forget(self)
        self.member.connections.discard(self)

    def tell_gone(self, reason):
        gone, self.gone, self.hear = self.gone, None, None
        self.member.forget(self, "pulse", "first", "parked", "dial")
        if gone is not None:
            gone(self, reason)

    def ready(self, mask):
        if self.sock is None:  # closed by what was heard in the same round
            return None
        if self.connected is not None:
            failure = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            try:
                is_self = not failure and self.sock.getsockname() == self.sock.getpeername()
            except OSError as error:
                failure = error.errno
            if failure:
                return self.close(os.strerror(failure))
            if is_self:
                return self.close("SELF_CONNECT: nobody listens there")  # L15
            connected, self.connected = self.connected, None
            connected(self)
        if mask & selectors.EVENT_READ and self.sock is not None:
            self.read()
        self.write()

    def read(self):
        try:
            data = self.sock.recv(65_536)
        except BlockingIOError:
            return
        except OSError as error:
            return self.close(error.strerror)
        if not data and self.is_finished:
            return self.close()
        if not data:
            return self.finish("closed by the other side")
        self.heard_at = time.monotonic()
        try:
            for content in self.reader.push(data) if self.hear else ():
                self.take(content)
                if self.hear is None:
                    break
        except wire.Refusal as refusal:
            self.refuse(refusal.code, str(refusal))

    def take(self, content):
        if content["type"] == "preface":
            if not content["lowest"] <= 2 <= content["highest"]:
                self.finish("VERSION_MISMATCH")
        elif content["type"] == "ping":
            self.send(wire.encode_frame(wire.PONG))
        elif content["type"] != "pong":
            self.hear(self, content)

    def write(self):
        if self.sock is None or self.connected is not None:
            return
        try:
            while self.out:
                del self.out[: self.sock.send(self.out)]
            if self.is_finished and not self.is_half_closed:
                self.is_half_closed = True
                self.sock.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            pass
        except OSError as error:
            # Where the other side is gone already there is nothing to half-close.
            return self.close(error.strerror)
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self.out else 0)
        self.member.selector.modify(self.sock, events, self.ready)


class Link:
    """What one end keeps of a link for as long as both ids live, and the connection that carries it now."""

    def __init__(self, peer, is_owner):
        self.peer, self.is_owner, self.connection = peer, is_owner, None
        self.attempt = self.since = self.sent = self.acknowledged = self.received = self.failures = self.owed = 0
        self.asked = 0  # The number of the last request
        self.waiting = collections.deque()  # (number, kind, frame) of what the peer has not acknowledged
        self.pending = collections.deque()  # (topic, payload) of messages for which there is no credit yet
        # Bytes of messages: those that the peer has granted and we have used, those that came and that we have granted.
        self.granted = self.window = WINDOW
        self.used = self.taken = 0
        self.is_up = self.has_been_up = self.has_said_goodbye = self.has_heard_goodbye = False
        self.end_reason = self.goodbye = None

    def begin(self, kind, **content):
        """Numbers a frame and keeps it; it goes out at once if there is a connection."""
        self.sent += 1
        frame = wire.encode_numbered(kind, self.sent, **content)
        self.waiting.append((self.sent, kind, frame))
        if self.is_up:
            self.connection.send(frame)

    def begin_pending(self):
        """As many messages as there is credit for."""
        while self.pending:
            topic, payload = self.pending[0]
            size = len(topic.encode()) + len(payload)
            if self.used + size > self.granted:
                break
            self.used += size
            self.pending.popleft()
            self.begin("message", form=0, topic=topic, payload=payload)

    def undelivered(self):
        """How many messages of ours are not known to have arrived."""
        return len(self.pending) + sum(kind == "message" for _, kind, _ in self.waiting)

    def acknowledge(self, number):
        """L11: False if that cannot be."""
        if not self.acknowledged <= number <= self.sent:
            return False
        self.acknowledged = number
        while self.waiting and self.waiting[0][0] <= number:
            self.waiting.popleft()
        return True

    def take_hello(self, attempt, since, received):
        """L9: False if the two ends do not agree on what has been delivered."""
        if since != 0 and since == self.since:
            return self.acknowledge(received)
        return since < attempt and self.begin_anew(attempt, received)

    def take_answer(self, attempt, since, received):
        """L10: the same for whoever has said hello."""
        if since == self.since:
            return self.acknowledge(received)
        return since == attempt and self.begin_anew(attempt, received)

    def begin_anew(self, attempt, received):
        """Only if neither end has taken anything."""
        if self.received or self.acknowledged or received:
            return False
        self.since = attempt
        return True
