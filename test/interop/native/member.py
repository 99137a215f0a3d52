#!/usr/bin/env python3
"""A member of a mesh in the native dialect, written from PROTOCOL.md alone, with the standard library alone.

    member.py HOST:PORT [--mesh NAME] [--name NAME]

README.md beside this file says what it prints and which commands it takes. There is one thread and one selector. A
`Member` has the conversations: with the server, with those who call its listener, and on links. L1 to L16 are the rules
of PROTOCOL.md.
"""

import argparse
import json
import os
import random
import secrets
import selectors
import socket
import sys
import time

import wire
from connection import WINDOW, Connection, Link

# Seconds and counts, as PROTOCOL.md has them under "Timers and limits".
REPORT, ACKNOWLEDGE, DRAIN, PARKED, DIAL, HANDSHAKE, REDIAL_MIN, REDIAL_MAX = 0.05, 0.05, 10, 5, 10, 15, 0.05, 30
ACKNOWLEDGE_BYTES, MOST_PARKED = 262_144, 256
# How many members, with the longest names and `meta`, fit into a part of `known`, and how many ended ids are named.
KNOWN_PER_PART, MOST_GONE = 20, 256
ABOUT = ("id", "order", "address", "dialect", "name", "meta")
# Refusals, on a link that is up, of what would come again on every connection.
LINK_ENDS = ("SESSION_LOST", "BAD_FRAME", "FRAME_TOO_LARGE", "UNKNOWN_MESSAGE", "UNEXPECTED_MESSAGE")


class Member:
    def __init__(self, server, mesh, own_name):
        self.server, self.mesh, self.name = server, mesh, own_name
        # The server that was given, those that share its log, as the last one has said, and until when one is not to be asked.
        self.given, self.servers, self.refused_until = server, [server], {}
        self.selector, self.timers = selectors.DefaultSelector(), {}
        self.id, self.address, self.order, self.log, self.revision = secrets.token_hex(16), None, None, None, 0
        # `directory`: those whom the present log lists. `remembered`: those of earlier logs of whom it has said nothing yet.
        self.directory, self.remembered, self.parts, self.gone_parts = {}, {}, [], []
        self.highest, self.removed, self.said_goodbye, self.lost = 0, {}, set(), set()
        self.links, self.parked, self.changes = {}, {}, {}
        self.session = self.listener = self.exit_code = None
        self.is_admitted = self.is_ending = self.is_released = False
        self.connections, self.typed = set(), b""

    def tell(self, event, **more):
        line = {"event": event, "at": int(time.time() * 1000), "node": self.address, "mesh": self.mesh, **more}
        print(json.dumps(line), flush=True)

    def after(self, seconds, run, key):
        self.timers[key] = (time.monotonic() + seconds, run)

    def forget(self, subject, *kinds):
        self.timers = {k: v for k, v in self.timers.items() if k[1] is not subject or (kinds and k[0] not in kinds)}

    def run(self):
        self.connect_to_server()
        self.selector.register(0, selectors.EVENT_READ, self.read_commands)
        # Whoever ends with something unread sends a reset, which would overtake the last words.
        while self.exit_code is None or self.connections:
            next_at = min((at for at, _ in self.timers.values()), default=None)
            wait = None if next_at is None else max(0, next_at - time.monotonic())
            for key, mask in self.selector.select(wait):
                key.data(mask)
            # What has arrived is heard before anybody is found to be late.
            for key in [key for key, (at, _) in self.timers.items() if at <= time.monotonic()]:
                self.timers.pop(key, (None, lambda: None))[1]()
        return self.exit_code

    def dial(self, where, hear, gone, connected):
        kind, path = where.split(":", 1)
        host, port = where.rsplit(":", 1)
        host = host.strip("[]")
        ip = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(socket.AF_UNIX if kind == "unix" else ip)
        connection = Connection(self, sock, hear, gone, connected)
        sock.connect_ex(path if kind == "unix" else (host, int(port)))
        self.after(DIAL, lambda: connection.close(f"no answer within {DIAL} s"), ("dial", connection))
        return connection

    # Commands.

    def read_commands(self, _mask):
        data = os.read(0, 65_536)
        if not data:
            self.selector.unregister(0)
        *lines, self.typed = (self.typed + data).split(b"\n")
        for line in lines:
            word, _, rest = line.decode().partition(" ")
            if word == "send":
                topic, _, payload = rest.partition(" ")
                for link in self.links.values():
                    self.send(link, topic, payload.encode())
            elif word == "ask":
                topic, _, payload = rest.partition(" ")
                for link in self.links.values():
                    self.ask(link, topic, payload.encode())
            elif word == "cut":
                for link in list(self.links.values()):
                    if link.connection is not None:
                        link.connection.close("cut at this end", reset=True)
            elif word == "leave":
                self.session.control("leave", reason="left")
                self.end("left", DRAIN)

    # The conversation with the server.

    def connect_to_server(self):
        self.session = self.dial(self.server, self.heard_server, self.server_gone, self.greet_server)

    def greet_server(self, session):
        self.forget(session, "dial")
        if self.listener is None and self.server.startswith("unix:"):
            # Beside the server's: the folder is this user's alone.
            path = f"{os.path.dirname(self.server.removeprefix('unix:'))}/m-{self.id[:8]}.sock"
            self.listener = socket.create_server(path, family=socket.AF_UNIX, backlog=4_096)
            self.selector.register(self.listener, selectors.EVENT_READ, self.accept)
            self.address = f"unix:{path}"
            self.tell("listening", address=self.address)
        elif self.listener is None:
            host = session.sock.getsockname()[0]
            self.listener = socket.create_server((host, 0), family=session.sock.family, backlog=4_096)
            self.selector.register(self.listener, selectors.EVENT_READ, self.accept)
            port = self.listener.getsockname()[1]
            self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            self.tell("listening", address=self.address)
        self.is_admitted = False
        self.parts, self.gone_parts = [], []
        me = {"mesh": self.mesh, "id": self.id, "address": self.address, **({"name": self.name} if self.name else {})}
        if self.log is not None:
            highest = max(self.highest, self.revision)
            session.control("resume", **me, log=self.log, revision=self.revision, order=self.order, highest=highest)
        else:
            session.control("register", **me)
        session.watch()

    def heard_server(self, session, content):
        kind = content["type"]
        if kind == "admitted":
            self.is_admitted = True
            self.lease = content["leaseMs"] / 1000
            self.learn(content.get("servers", []))
            if self.log is None:
                self.tell("registered", address=self.address, order=content["order"])
            self.enter(content["log"])
            self.order = content["order"]
            self.report(full=True)
        elif kind == "directory":
            self.parts += content["members"]
            self.gone_parts += content.get("gone", [])
            if not content.get("more"):
                self.restore(self.parts, self.gone_parts, content["revision"])
                self.parts, self.gone_parts = [], []
                self.directory_moved()
        elif kind == "entries":
            for entry in content["entries"]:
                self.apply(entry)
            self.directory_moved()
        elif kind == "servers":
            self.learn(content["servers"])
        elif kind == "grant":
            self.granted(content)
        elif kind == "measure":
            # It measures nothing: the server shows what it has.
            pass
        elif kind in ("leader", "waiting", "complete", "degraded"):
            self.tell(kind, **{key: value for key, value in content.items() if key != "type"})
        elif kind == "teardown":
            self.tell("teardown", reason=content["reason"])
            self.end(content["reason"], content["deadlineMs"] / 1000)
        elif kind == "release":
            self.tell("released", reason=content["reason"])
            self.is_released = True
            for link in self.links.values():
                self.lapse(link, "no connection")
            session.finish("the server has left the mesh to its members")
        elif kind == "refuse" and "retryMs" in content and self.log is not None:
            # It goes on at another server of the log, or here when that time is over.
            self.refused_until[self.server] = time.monotonic() + content["retryMs"] / 1000
            session.close(content["code"])
        elif kind == "refuse":
            self.tell("error", code=content["code"], message=content["message"])
            self.exit_code = 4
        else:
            session.refuse("UNEXPECTED_MESSAGE", f"{kind} does not belong here")

    def server_gone(self, _session, reason):
        self.session = None
        if self.is_ending:
            self.finish_if_over()
        elif self.is_released:
            pass
        elif self.log is None:
            self.tell("error", code="SERVER_VANISHED", message=reason)
            self.exit_code = 1
        else:
            self.server = self.servers[(self.servers.index(self.server) + 1) % len(self.servers)]
            pause = max(0, self.refused_until.pop(self.server, 0) - time.monotonic())
            self.after(pause + random.uniform(0.1, 0.5), self.connect_to_server, ("server", self))

    def learn(self, others):
        self.servers = list(dict.fromkeys([self.given, self.server, *others]))

    def lapse(self, link, reason):
        """Without a server a link that is not up for a lease ends for good."""
        if self.is_released and not link.is_up:
            self.after(self.lease, lambda: self.departed(link.peer["id"], reason), ("lapse", link))

    def member(self, peer_id):
        return self.directory.get(peer_id) or self.remembered.get(peer_id)

    def enter(self, log):
        """Another log says nothing of those whom the last one listed: they are remembered, and keep their links."""
        if self.log not in (None, log):
            self.highest, self.revision = max(self.highest, self.revision), 0
            self.remembered.update(self.directory)
            self.directory = {}
            self.tell("log")
        self.log = log

    def restore(self, members, gone, revision):
        """A whole directory: only those are gone whom this log has listed, or says to be gone."""
        self.revision = revision
        present = {member["id"] for member in members}
        missing = [known for known in self.directory if known not in present]
        for peer_id in missing + [known for known in gone if known in self.remembered]:
            self.departed(peer_id, "no longer in the directory")
        for member in members:
            self.listed(member)

    def listed(self, member):
        if self.remembered.pop(member["id"], None) is None and member["id"] not in self.directory:
            for older in [known for known in self.remembered.values() if known["address"] == member["address"]]:
                self.departed(older["id"], "replaced by a new incarnation")
        self.directory[member["id"]] = member

    def send_known(self):
        """Behind the proof of a resume, in parts: whom this member knows, for a server with another log."""
        known = [*self.directory.values(), *self.remembered.values()]
        known = [each for each in known if each["dialect"] == "native" and each["id"] not in self.said_goodbye | {self.id}]
        rows = [{field: each[field] for field in ABOUT if field in each} for each in known]
        parts = [rows[at : at + KNOWN_PER_PART] for at in range(0, len(rows), KNOWN_PER_PART)]
        for part in parts:
            self.session.control("known", members=part, gone=[], more=True)
        self.session.control("known", members=[], gone=[*self.said_goodbye, *[*self.removed][-MOST_GONE:]])

    def apply(self, entry):
        if entry["revision"] <= self.revision:
            return
        self.revision = entry["revision"]
        if entry["type"] == "replaced":
            self.departed(entry["replaces"], "replaced by a new incarnation")
        if entry["type"] in ("left", "lost"):
            self.departed(entry["id"], f"{entry['type']}: {entry['reason']}", entry["type"] == "left")
        elif entry["type"] in ("joined", "replaced"):
            self.listed(entry)

    def departed(self, peer_id, reason, is_leaving=False):
        self.removed[peer_id] = True
        self.said_goodbye.discard(peer_id)
        self.directory.pop(peer_id, None)
        self.remembered.pop(peer_id, None)
        link = self.links.get(peer_id)
        if peer_id == self.id:
            self.tell("error", code="FENCED", message=reason)
            self.exit_code = 1
        elif link is not None and is_leaving and link.is_up:
            # Its goodbye is on the way.
            self.after(DRAIN, lambda: self.end_link(link, reason), ("drain", link))
        elif link is not None:
            self.end_link(link, reason)

    def directory_moved(self):
        me = self.member(self.id)
        for member in self.directory.values() if me and not self.is_ending else ():
            if member["id"] in (me["id"], *self.said_goodbye) or member["id"] in self.links or member["id"] in self.lost:
                continue
            if member["dialect"] == "classic":
                self.changed(member, ("classic", 0, "this member speaks no classic"))
                continue
            link = Link(member, is_owner=(me["order"], me["id"]) < (member["order"], member["id"]))
            self.links[member["id"]] = link
            if link.is_owner:
                self.start_attempt(link)
        for connection, hello in list(self.parked.items()):
            self.judge(connection, hello)

    def changed(self, member, state):
        # An attempt; or how far it has come, at which attempt, and why it is no further.
        self.changes[member["id"]] = state
        if ("report", self) not in self.timers:
            self.after(REPORT, self.report, ("report", self))

    def report(self, full=False):
        if full:
            for link in self.links.values():
                down = ("broken" if link.attempt else "waiting", link.attempt, "no connection")
                self.changes.setdefault(link.peer["id"], link.attempt if link.is_up else down)
        up = [[peer_id, state] for peer_id, state in self.changes.items() if isinstance(state, int)]
        down = [[peer_id, *state] for peer_id, state in self.changes.items() if not isinstance(state, int)]
        if self.session is not None and self.is_admitted:
            named = [self.remembered[peer_id] for peer_id, _ in up if peer_id in self.remembered]
            unlisted = [{field: peer[field] for field in ("id", "order", "address")} for peer in named]
            optional = {**({"full": True} if full else {}), **({"unlisted": unlisted} if unlisted else {})}
            self.session.control("links", **optional, up=up, down=down)
            self.changes = {}

    # Those who call the listener.

    def accept(self, _mask):
        sock, _ = self.listener.accept()
        caller = Connection(self, sock, self.heard_caller, lambda caller, reason: self.parked.pop(caller, None))
        self.after(HANDSHAKE, lambda: caller.refuse("HANDSHAKE_TIMEOUT", "nothing came in time"), ("first", caller))

    def heard_caller(self, caller, content):
        kind = content["type"]
        self.forget(caller, "first")
        if kind == "challenge":
            is_mine = content["mesh"] == self.mesh and content["id"] == self.id
            # Not before the registration or the resume has gone out: the proof would come first.
            is_asking = self.session is not None and self.session.connected is None and not self.is_admitted
            if not is_mine or not is_asking:
                return caller.refuse("UNAWAITED_CHALLENGE", "this node waits for no such challenge")
            caller.control("here", id=self.id)
            caller.finish("answered")
            self.session.control("proof", nonce=content["nonce"])
            if self.log is not None:
                self.send_known()
        elif kind == "check":
            caller.control("here", id=self.id)
            caller.finish("answered")
        elif kind == "hello" and content["mesh"] != self.mesh:
            caller.refuse("WRONG_MESH", "this is a member of another mesh")
        elif kind == "hello" and caller not in self.parked:
            self.judge(caller, content)
        else:
            caller.refuse("UNEXPECTED_MESSAGE", f"{kind} does not belong here")

    def judge(self, caller, hello):
        """L6, and L7 for a hello that is taken."""
        self.parked.pop(caller, None)
        me, sender = self.member(self.id), self.member(hello["from"])
        link, attempt = self.links.get(hello["from"]), hello["attempt"]
        if hello["to"] != self.id:
            return caller.refuse("WRONG_TARGET", "this is another incarnation")
        if hello["from"] in self.removed:
            return caller.refuse("GONE", "this incarnation has been removed")
        if me is None or sender is None:
            if len(self.parked) >= MOST_PARKED:
                return caller.refuse("PARKING_FULL", "too many wait for an entry that names them")
            self.parked[caller] = hello
            unknown = ("UNKNOWN_PEER", "the directory does not name the sender")
            return self.after(PARKED, lambda: caller.refuse(*unknown), ("parked", caller))
        self.forget(caller, "parked")
        if sender["dialect"] == "classic":
            return caller.refuse("WRONG_DIALECT", "the directory lists this member as classic")
        if hello["from"] in self.lost:
            return caller.refuse("SESSION_LOST", "this link has ended")
        if link is None or link.is_owner:
            return caller.refuse("NOT_OWNER", "the earlier member dials")
        if attempt <= link.attempt:
            return caller.refuse("STALE_ATTEMPT", f"attempt {link.attempt} was taken", highest=link.attempt)
        if not link.take_hello(attempt, hello["since"], hello["received"]):
            caller.refuse("SESSION_LOST", "we do not agree on what was delivered", highest=link.attempt)
            return self.lose_link(link)
        self.drop_connection(link)
        link.attempt, link.connection = attempt, caller
        caller.trust()
        caller.control("answer", attempt=attempt, since=link.since, received=link.received)
        self.link_up(link)

    # Links.

    def start_attempt(self, link):
        """L1; L2 is the time-out of `dial`, and that a closed connection is heard no more."""
        if link.peer["id"] not in self.links or link.connection is not None:
            return
        link.attempt += 1
        link.connection = self.dial(
            link.peer["address"],
            lambda connection, content: self.heard_answer(link, connection, content),
            lambda connection, reason: self.attempt_failed(link, reason),
            lambda connection: connection.control("hello", **self.hello(link)),
        )

    def granted(self, grant):
        """L16: the owner cannot dial this member, and lets it open one attempt."""
        link = self.links.get(grant["owner"]) if grant["later"] == self.id else None
        attempt = grant["attempt"]
        if link is None or link.is_owner or self.is_ending or link.has_heard_goodbye:
            return
        if not link.attempt < attempt <= link.attempt + 2**32:
            return
        self.drop_connection(link)
        link.attempt = attempt
        self.tell("granted", peer=link.peer["address"], attempt=attempt)
        self.changed(link.peer, ("dialing", attempt, "granted by its owner"))
        link.connection = self.dial(
            link.peer["address"],
            lambda connection, content: self.heard_answer(link, connection, content),
            lambda connection, reason: self.reverse_failed(link, reason),
            lambda connection: connection.control("hello", **self.hello(link)),
        )

    def reverse_failed(self, link, reason):
        """It is dialed once: the next attempt is the owner's."""
        link.connection = None
        self.changed(link.peer, ("waiting for its owner", link.attempt, reason))

    def hello(self, link):
        state = {"attempt": link.attempt, "since": link.since, "received": link.received}
        return {"mesh": self.mesh, "from": self.id, "to": link.peer["id"], **state}

    def heard_answer(self, link, connection, content):
        if content["type"] == "answer":
            attempt, since, received = content["attempt"], content["since"], content["received"]
            if attempt == link.attempt and link.take_answer(attempt, since, received):
                self.forget(connection, "dial")
                return self.link_up(link)  # L3
            connection.gone = None
            connection.refuse("SESSION_LOST", "we do not agree on what was delivered")
            self.lose_link(link)
        elif content["type"] == "refuse":  # L4
            if link.is_owner:
                link.attempt = max(link.attempt, content.get("highest", 0))
            if content["code"] == "SESSION_LOST":
                return self.lose_link(link)
            is_final = link.is_owner and content["code"] in ("WRONG_TARGET", "GONE", "WRONG_MESH", "WRONG_DIALECT")
            connection.gone = None if is_final else connection.gone
            connection.finish(f"{content['code']} {content['message']}")
            if is_final:
                self.changed(link.peer, ("refused", link.attempt, content["code"]))
        else:
            connection.refuse("UNEXPECTED_MESSAGE", f"{content['type']} does not belong here")

    def attempt_failed(self, link, reason):
        link.connection = None
        link.failures += 1
        self.changed(link.peer, ("dialing", link.attempt, f"{reason} ({link.failures} in a row)"))
        pause = min(REDIAL_MAX, REDIAL_MIN * 2**link.failures) * random.uniform(0.5, 1)
        self.after(pause, lambda: self.start_attempt(link), ("redial", link))

    def link_up(self, link):
        event = "relink" if link.has_been_up else "link"
        link.is_up, link.has_been_up, link.failures, connection = True, True, 0, link.connection
        connection.hear = lambda connection, content: self.heard_link(link, connection, content)
        connection.gone = lambda connection, reason: self.link_broken(link, reason)
        connection.watch()
        self.forget(link, "lapse")
        self.changed(link.peer, link.attempt)
        direction = "dialed" if link.is_owner else "accepted"
        self.tell(event, peer=link.peer["address"], direction=direction, dialect="native", attempt=link.attempt)
        for _, _, frame in link.waiting:
            connection.send(frame)
        if self.is_ending:
            self.say_goodbye(link, "left")

    def send(self, link, topic, payload):
        if link.goodbye is None:
            link.pending.append((topic, payload))
            link.begin_pending()

    def ask(self, link, topic, payload):
        if link.goodbye is None:
            link.asked += 1
            link.begin("request", request=link.asked, form=0, topic=topic, payload=payload)

    def heard_link(self, link, connection, content):
        kind = content["type"]
        if kind in wire.KINDS:
            if not 0 < content["number"] <= link.received + 1:
                return connection.refuse("SESSION_LOST", f"frame {content['number']} came after {link.received}")
            if content["number"] == link.received + 1:
                self.take(link, connection, content)
        elif kind == "acknowledgement":
            if not link.acknowledge(content["number"]):
                connection.refuse("SESSION_LOST", f"an acknowledgement of {content['number']} cannot be")
        elif kind == "goodbye":
            if not link.acknowledge(content["received"]):
                return connection.refuse("SESSION_LOST", f"a goodbye that acknowledges {content['received']} cannot be")
            link.has_heard_goodbye = True
            link.end_reason = content["reason"]
            self.say_goodbye(link, content["reason"])
        elif kind == "refuse":
            connection.finish(f"{content['code']} {content['message']}")
        else:
            connection.refuse("UNEXPECTED_MESSAGE", f"{kind} does not belong here")

    def take(self, link, connection, content):
        """The next numbered frame: what it asks for is done, and it is acknowledged soon."""
        link.received += 1
        fault = self.obey(link, **content)
        if fault is not None:
            return connection.refuse("SESSION_LOST", fault)
        link.owed += sum(len(value) for value in content.values() if isinstance(value, (str, bytes)))
        if link.owed >= ACKNOWLEDGE_BYTES:
            self.acknowledge(link)
        elif ("owed", link) not in self.timers:
            self.after(ACKNOWLEDGE, lambda: self.acknowledge(link), ("owed", link))

    def obey(self, link, type, number, **content):
        """What is wrong with a frame, or None."""
        peer = link.peer["address"]
        if type == "message":
            return self.hear_message(link, **content)
        if type == "request":
            request, form = content["request"], content["form"]
            if content["topic"] == "echo":
                link.begin("reply", request=request, form=form, payload=content["payload"])
            else:
                why = {"code": "NO_HANDLER", "message": "this member only handles echo"}
                link.begin("failure", request=request, **why)
        elif type == "reply":
            text = content["payload"].decode(errors="replace")
            self.tell("reply", peer=peer, request=content["request"], form=content["form"], text=text)
        elif type == "failure":
            self.tell("failure", peer=peer, request=content["request"], code=content["code"])
        elif type == "open":
            # The opener's numbers: odd for the owner of the link.
            if content["stream"] % 2 == (1 if link.is_owner else 0):
                return f"stream {content['stream']} is not the other end's to open"
            link.begin("abort", stream=content["stream"], code="NO_HANDLER", message="this member takes no streams")
        elif type == "credit" and content["flow"] == 0:
            link.granted = max(link.granted, content["limit"])
            link.begin_pending()
            if link.goodbye is not None:
                self.say_goodbye(link, link.goodbye)
        # Nobody waits for a cancelled reply; what comes on a stream that was aborted is ignored.
        return None

    def hear_message(self, link, form, topic, payload):
        link.taken += len(topic.encode()) + len(payload)
        if link.taken > link.window:
            return "a message came for which there was no credit"
        # Lines are printed at once, so everything that has come may be granted again, in portions.
        if link.taken + WINDOW - link.window >= WINDOW // 4:
            link.window = link.taken + WINDOW
            link.begin("credit", flow=0, limit=link.window)
        text = payload.decode(errors="replace")
        self.tell("message", peer=link.peer["address"], topic=topic, text=text, form=form)
        return None

    def acknowledge(self, link):
        link.owed = 0
        self.forget(link, "owed")
        if link.is_up:
            link.connection.send(wire.encode_acknowledgement(link.received))

    def say_goodbye(self, link, reason):
        """Behind everything that was begun, and behind what waits for credit."""
        if link.goodbye is None:
            link.goodbye = reason
            self.after(DRAIN, lambda: self.end_link(link, "did not say goodbye in time"), ("drain", link))
        if link.pending or not link.is_up:
            return
        if not link.has_said_goodbye:
            link.has_said_goodbye = True
            link.connection.control("goodbye", reason=reason, received=link.received)
        if link.has_heard_goodbye:
            self.acknowledge(link)
            link.connection.half_close()  # The other end's last acknowledgement may still come.

    def link_broken(self, link, reason):
        """L5 and L8."""
        link.connection, link.is_up = None, False
        if reason.split(" ")[0] in LINK_ENDS:  # L12
            return self.lose_link(link, reason.split(" ")[0])
        if link.has_said_goodbye or link.has_heard_goodbye or link.peer["id"] in self.removed:
            if self.member(link.peer["id"]) is not None:
                self.said_goodbye.add(link.peer["id"])
            return self.end_link(link, link.end_reason or reason)
        self.lapse(link, reason)
        self.changed(link.peer, ("broken", link.attempt, reason))
        if link.is_owner:
            self.start_attempt(link)

    def drop_connection(self, link):
        """Closes it, and hears nothing more from it."""
        connection, link.connection, link.is_up = link.connection, None, False
        if connection is not None:
            connection.gone = None
            connection.close("replaced")

    def end_link(self, link, reason):
        if self.links.pop(link.peer["id"], None) is None:
            return
        self.drop_connection(link)
        self.forget(link)
        self.changes.pop(link.peer["id"], None)
        if link.has_been_up:
            self.tell("unlink", peer=link.peer["address"], reason=reason, unacknowledged=link.undelivered())
        self.finish_if_over()

    def lose_link(self, link, code="SESSION_LOST"):
        """L12."""
        self.lost.add(link.peer["id"])
        self.end_link(link, code)
        self.changed(link.peer, ("broken", link.attempt, f"ended: {code}"))

    def end(self, reason, within):
        """Says goodbye to everybody; what is under way is still delivered."""
        self.is_ending = True
        self.selector.unregister(self.listener)
        self.listener.close()
        self.after(within, self.end_now, ("end", self))
        for link in list(self.links.values()):
            if link.is_up:
                self.say_goodbye(link, reason)
            else:
                self.end_link(link, reason)
        self.finish_if_over()

    def end_now(self):
        for link in list(self.links.values()):
            self.end_link(link, "the time is over")

    def finish_if_over(self):
        if not self.is_ending or self.links or self.exit_code is not None:
            return
        if self.session is not None:
            return self.session.finish("the mesh has ended")
        self.tell("closed")
        self.exit_code = 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("server")
    parser.add_argument("--mesh", default="default")
    parser.add_argument("--name")
    arguments = parser.parse_args()
    return Member(arguments.server, arguments.mesh, arguments.name).run()


if __name__ == "__main__":
    sys.exit(main())
