#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Programs that serve badly, on the real control socket: hosts.py RUN. What each does costs it its own calls (L1, S7, S8)."""
import json
import os
import socket
import sys

RUN = sys.argv[1]


class Connection:
    def __init__(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(f"{RUN}/control.sock")
        self.lines = self.sock.makefile("r", encoding="utf-8", newline="\n")
        self.id = 0

    def raw(self, text):
        self.sock.sendall(text.encode() + b"\n")

    def send(self, **message):
        self.raw(json.dumps({"jsonrpc": "2.0", **message}))

    def next(self):
        line = self.lines.readline()
        return json.loads(line) if line else None

    def start(self, method, /, **params):
        self.id += 1
        self.send(id=self.id, method=method, params=params)

    def ask(self, method, /, **params):
        self.start(method, **params)
        answer = self.next()
        assert answer["id"] == self.id, answer
        return answer

    def close(self):
        self.lines.close()
        self.sock.close()


class Host(Connection):
    def __init__(self, *names):
        super().__init__()
        for name in names:
            self.kref = self.ask("registerService", name=name)["result"]["kref"]


def call(kref, method="m", *args):
    """Begins; the connection's next() is the outcome."""
    c = Connection()
    c.start("queueMessage", target=kref, method=method, args=list(args))
    return c


def outcome(c):
    body = c.next()["result"]["body"]
    c.close()
    return body


def waiting(name):
    c = Connection()
    services = c.ask("listServices")["result"]["services"]
    c.close()
    return next(s["waiting"] for s in services if s["name"] == name)


def refused(connection, words):
    answer = connection.next()
    assert answer["id"] is None and words in answer["error"]["message"], answer


def expect(c, words):
    body = outcome(c)
    assert words in body, (words, body)


def answers():
    h = Host("odd")
    c = call(h.kref, "twice", 1)
    asked = h.next()
    assert asked["params"] == {"service": "odd", "method": "twice", "args": [1],
                               "methargs": {"body": '#["twice",[1]]', "slots": []}}, asked
    h.send(id=asked["id"] + 1000, result=1)
    refused(h, "waits for one")
    h.send(id="x", result=1)
    refused(h, "id: expected")
    h.send(id=asked["id"], result="once")
    h.send(id=asked["id"], result="twice")
    refused(h, "waits for one")
    expect(c, "once")
    # Not JSON at all, with a NUL, half malformed: only the last names its call.
    c = call(h.kref)
    asked = h.next()
    h.raw("nonsense")
    refused(h, "parse error")
    h.raw('{"jsonrpc":"2.0","id":%d,"result":"\\u0000"}' % asked["id"])
    refused(h, "parse error")
    h.send(id=asked["id"], error=5)
    refused(h, "error: expected an object")
    expect(c, "malformed")
    # References: too many, dead, alive.
    c = call(h.kref)
    h.send(id=h.next()["id"], result=[{"@": f"ko{n}"} for n in range(1, 10002)])
    expect(c, "more than 10000 references")
    c = call(h.kref)
    h.send(id=h.next()["id"], result={"@": "ko99999"})
    expect(c, "KERNEL:OBJECT_DELETED")
    c = call(h.kref, "back", {"@": h.kref})
    asked = h.next()
    assert asked["params"]["args"] == [{"@": h.kref}] and asked["params"]["methargs"]["slots"] == [h.kref], asked
    h.send(id=asked["id"], result={"@": h.kref})
    expect(c, '#"$0"')
    # A service may itself call what it was given, or itself.
    h.start("queueMessage", target=h.kref, method="self", args=[])
    asked = h.next()
    h.send(id=asked["id"], result="me")
    assert "me" in h.next()["result"]["body"]
    # A line without end: the program is lost, and with it what it was asked.
    c = call(h.kref)
    h.next()
    try:
        h.raw('{"jsonrpc":"2.0","id":1,"result":"' + "x" * 5000000 + '"}')
    except OSError:
        pass
    expect(c, "KERNEL:CONNECTION_LOST")
    h.close()


def ends():
    # Half-closed, hung up in the middle of an answer, and while many calls wait.
    for end in ("half", "middle", "many"):
        h = Host("odd")
        calls = [call(h.kref) for _ in range(120 if end == "many" else 2)]
        asked = h.next()
        while waiting("odd") < len(calls):
            pass
        if end == "half":
            h.sock.shutdown(socket.SHUT_WR)
        else:
            h.sock.sendall(b'{"jsonrpc":"2.0","id":%d,"res' % asked["id"])
            h.close()
        for c in calls:
            expect(c, "KERNEL:CONNECTION_LOST")
        expect(call(h.kref), "KERNEL:SERVICE_UNAVAILABLE")
        if end == "half":
            h.close()


def names():
    h = Host("odd")
    c = call(h.kref)
    h.next()
    assert "SERVICE_ATTACHED" in h.ask("registerService", name="odd")["error"]["message"]
    for name in ("", "a b", "..", "x" * 65, 5, None, "ä"):
        assert "name: expected" in h.ask("registerService", name=name)["error"]["message"]
    assert "systemOnly: expected" in h.ask("registerService", name="x", systemOnly=1)["error"]["message"]
    assert "SERVICE_RESERVED" in h.ask("registerService", name="console")["error"]["message"]
    refusals = 0
    for n in range(1000):
        refusals += "TOO_MANY_SERVICES" in h.ask("registerService", name=f"n{n}").get("error", {}).get("message", "")
    assert refusals == 901, refusals  # and one was there
    for n in range(99):
        assert h.ask("unregisterService", name=f"n{n}")["result"] == {}
    # Another uid: it may connect here, but not take the name, nor give it away.
    os.seteuid(4242)
    other = Connection()
    os.seteuid(0)
    assert "uid 4242" in other.ask("unregisterService", name="odd")["error"]["message"]
    h.close()
    expect(c, "KERNEL:CONNECTION_LOST")
    assert "uid 4242" in other.ask("registerService", name="odd")["error"]["message"]
    assert other.ask("registerService", name="theirs")["result"]["kref"]
    assert Connection().ask("unregisterService", name="theirs")["result"] == {}  # root may


answers()
ends()
names()
