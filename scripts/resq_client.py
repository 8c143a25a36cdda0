#!/usr/bin/env python3
"""resq_client.py HOST:PORT STATE... prints the events of resqd. It does everything that a client has to do, in any
language. RESQ_TOKEN is the daemon's token, if it has one. RESQ_TLS=verify encrypts, by the authorities in RESQ_TLS_CA. With
RESQ_CONSUMER the server keeps the position under that name, and an event comes again unless it was acknowledged.
Frames: u32 length, u8 type, body; integers big-endian."""
import os, random, socket, ssl, sys, time
from struct import error as CutShort, pack, unpack

CONSUMER = os.environ.get("RESQ_CONSUMER")
string = lambda text: pack(">H", len(text.encode())) + text.encode()

def connect(address):
    peer = socket.create_connection(address, timeout=10)
    if os.environ.get("RESQ_TLS") == "verify":
        trust = ssl.create_default_context(cafile=os.environ.get("RESQ_TLS_CA"))
        peer = trust.wrap_socket(peer, server_hostname=address[0])
    return peer

def listen(address, states, position):
    """Yields (seq, state, payload). position: the number to resume after (None: from now on), and the log it is in."""
    with connect(address) as peer, peer.makefile("rb") as stream:
        def send(kind, body):
            peer.sendall(pack(">IB", 1 + len(body), kind) + body)
        send(0x01, b"\1\2" + string("resq_client.py") + string(os.environ.get("RESQ_TOKEN", "")))  # HELLO: subscriber
        while len(header := stream.read(5)) == 5:
            length, kind = unpack(">IB", header)
            body = stream.read(length - 1)
            if kind == 0x81:  # WELCOME: subscribe from the position; another log from its beginning
                ping_interval_ms, log = unpack(">IQ", body[13:25])
                position["after"], position["log"] = 0 if position["log"] not in (None, log) else position["after"], log
                peer.settimeout(2 * ping_interval_ms / 1000 + 10)
                patterns = pack(">H", len(states)) + b"".join(map(string, states))
                if CONSUMER:  # CONSUME: if it is new, from now on; at most 100 events that are not acknowledged
                    send(0x07, b"\0" + string(CONSUMER) + pack(">BQH", 0, 0, 100) + patterns)
                else:
                    send(0x02, pack(">BQ", position["after"] is not None, position["after"] or 0) + patterns)
            elif kind == 0x83:  # EVENT: u64 seq, u64 time, str state, payload
                end = 18 + unpack(">H", body[16:18])[0]
                yield unpack(">Q", body[:8])[0], body[18:end].decode(), body[end:]
                if CONSUMER:  # ACK, now that it is done
                    send(0x08, body[:8])
            elif kind == 0x84:  # GAP: events are lost; kind 3 has the end of the log
                print("gap: kind %d, value %d" % unpack(">BQ", body[:9]), file=sys.stderr)
                position["after"] = unpack(">Q", body[1:9])[0] if body[0] == 3 else position["after"]
            elif kind == 0x85 and (code := unpack(">H", body[:2])[0]) not in (7, 8, 9, 10, 12):  # ERROR, final
                sys.exit(f"refused, error {code}: {body[4:].decode()!r}")
            elif kind == 0x05:  # PING must be answered, or resqd disconnects
                send(0x06, body[:8])
            # EVENT, SUBSCRIBED and, once subscribed, PING carry the number to resume after.
            if kind in (0x82, 0x83) or kind == 0x05 and position["after"] is not None:
                position["after"] = max(position["after"] or 0, unpack(">Q", body[:8])[0])

(host, port), position, pause = sys.argv[1].rsplit(":", 1), {"after": None, "log": None}, 0.1
while True:
    try:
        for seq, state, payload in listen((host, int(port)), sys.argv[2:], position):
            print(seq, state, payload.decode(errors="replace"), flush=True)
            pause = 0.1
    except (OSError, CutShort) as error:
        print(f"resq_client.py: {error}; reconnecting", file=sys.stderr)
    time.sleep(pause * random.uniform(0.5, 1))  # growing, with jitter, so that clients do not all return at once
    pause = min(pause * 2, 15)
