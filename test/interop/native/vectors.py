#!/usr/bin/env python3
"""Puts wire.py through vectors: `vectors.py FILE` with test/vectors/native.json. Names those that do not hold."""

import json
import sys

import wire


def understand(pieces, limits):
    """What a reader understands of a stream in these pieces, as the vectors write it."""
    reader, events = wire.Reader(limits["controlBytes"], limits["messageBytes"]), []
    try:
        for piece in pieces:
            for content in reader.push(piece):
                events.append(plain(content))
    except wire.Refusal as refusal:
        events.append({"type": "bad", "code": refusal.code})
    return events


def plain(content):
    return {key: value.hex() if isinstance(value, bytes) else value for key, value in content.items()}


def encode(content):
    given = {key: value for key, value in content.items() if key != "type"}
    match content["type"]:
        case numbered if numbered in wire.KINDS:
            rest = ("payload", "bytes")
            raw = {key: bytes.fromhex(value) if key in rest else value for key, value in given.items()}
            return wire.encode_numbered(numbered, **raw)
        case "acknowledgement":
            return wire.encode_acknowledgement(given["number"])
        case "ping":
            return wire.encode_frame(wire.PING)
        case "pong":
            return wire.encode_frame(wire.PONG)
        case kind:
            return wire.encode_control(kind, **given)


def deliveries(stream):
    """The stream whole, byte by byte, and cut in two at every place."""
    yield [stream]
    yield [stream[at : at + 1] for at in range(len(stream))]
    for at in range(1, len(stream)):
        yield [stream[:at], stream[at:]]


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        vectors = json.load(file)
    preface = {"type": "preface", "lowest": 2, "highest": 2}
    streams = [(each["name"], each["hex"], each["events"], each.get("limits")) for each in vectors["streams"]]
    for each in vectors["frames"]:
        if encode(each["content"]).hex() != each["hex"]:
            print(f"not written so: {each['name']}")
        streams.append((each["name"], wire.PREFACE.hex() + each["hex"], [preface, each["content"]], None))
    for name, digits, events, limits in streams:
        for pieces in deliveries(bytes.fromhex(digits)):
            if understand(pieces, limits or vectors["limits"]) != events:
                print(f"not read so: {name}: {understand(pieces, limits or vectors['limits'])}")
                break
    print(f"{len(vectors['frames'])} frames, {len(vectors['streams'])} streams")


main()
