#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""siege: attacks, one after the other, while a witness goes on, and what became of everybody.

	siege.py SOCKET WITNESS VICTIM SECONDS ATTACKS

SOCKET is the kernel's control socket, WITNESS and VICTIM are references of two polite vats (tests/vats/hostile.c); the
witness passes each `relay` on to a third. ATTACKS is a file of the rows of `hostile list`, each with the `vat` that is to do
it and its `ref`. Rows that are marked `together` run at one time, the others one by one.

The witness always has one call under way. Its answers count up in the memory of its vat, so one that is lost, repeated or
given by another process is seen. During an attack it must make as many round trips as the row says, and after it three
more. How long they took is printed and not judged: that is the machine's affair, too. Nothing may take longer than SECONDS.
"""
import json
import re
import socket
import statistics
import sys
import time

QUIET_TRIPS = 100


class Failure(Exception):
    pass


class Kernel:
    """One connection; what is asked and answered on it, in whatever order."""

    def __init__(self, path, seconds):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(seconds)
        self.socket.connect(path)
        self.lines = self.socket.makefile("rb")
        self.next_id = 1
        self.waiting = {}

    def ask(self, method, params, then):
        request = {"jsonrpc": "2.0", "id": self.next_id, "method": method, "params": params}
        self.waiting[self.next_id] = then
        self.next_id += 1
        self.socket.sendall(json.dumps(request).encode() + b"\n")

    def turn(self):
        """One answer."""
        try:
            line = self.lines.readline()
        except TimeoutError:
            raise Failure("the kernel says nothing any more") from None
        if not line:
            raise Failure("the kernel closed the connection")
        reply = json.loads(line)
        self.waiting.pop(reply["id"])(reply)

    def get(self, method, params):
        got = []
        self.ask(method, params, got.append)
        while not got:
            self.turn()
        if "result" not in got[0]:
            raise Failure(f"{method}: {got[0]}")
        return got[0]["result"]

    def call(self, ref, method, then):
        self.ask("queueMessage", [ref, method, []], lambda reply: then(text_of(reply)))


def text_of(reply):
    r = reply.get("result")
    if r is None:
        return f"error {json.dumps(reply['error'])}"
    flags = "".join(f" {f}={str(r.get(f, False)).lower()}" for f in ("rejected", "kernel"))
    return r["body"] + flags


class Witness:
    def __init__(self, kernel, ref):
        self.kernel, self.ref = kernel, ref
        self.trips = []
        self.call()

    def call(self):
        self.began = time.monotonic()
        self.kernel.call(self.ref, "relay", self.answered)

    def answered(self, text):
        self.trips.append(time.monotonic() - self.began)
        if text != f"#{len(self.trips)} rejected=false kernel=false":
            raise Failure(f"the witness's call {len(self.trips)} was answered with {text}")
        self.call()

    def go_to(self, n):
        while len(self.trips) < n:
            self.kernel.turn()


class Attack:
    def __init__(self, row, kernel, witness):
        self.row, self.kernel, self.witness = row, kernel, witness
        self.text = "nothing"
        self.began = len(witness.trips)
        kernel.call(row["ref"], row["method"], self.answered)

    def answered(self, text):
        self.text = text
        self.trips = len(self.witness.trips) - self.began

    def is_over(self):
        if self.row["waits"]:
            return vats(self.kernel)[self.row["vat"]]["status"] == self.row["status"]
        return self.text != "nothing"

    def end(self):
        while not self.is_over():
            self.kernel.turn()
        if self.row["endless"]:
            self.witness.go_to(self.began + self.row["trips"])
            self.kernel.get("terminateVat", [self.row["vat"]])
        elif self.text != "nothing" and self.trips < self.row["trips"]:
            raise Failure(f"{self.row['method']}: {self.trips} round trips of the witness meanwhile, wanted {self.row['trips']}")
        if not re.search(self.row["answer"], self.text, re.S):
            raise Failure(f"{self.row['method']}: wanted the answer /{self.row['answer']}/, got {self.text[:1000]}")

    def slowest(self):
        return max(self.witness.trips[self.began:])


def vats(kernel):
    return {v["id"]: v for v in kernel.get("getStatus", {})["vats"]}


def wrong(row, vat):
    for key in ("status", "incarnation", "deaths"):
        if vat[key] != row[key]:
            return f"{key} is {vat[key]}, not {row[key]}"
    return None


def judge(kernel, rows):
    """Whose call was answered may be about to end only now, so this is asked again."""
    for _ in range(500):
        now = vats(kernel)
        faults = [f"{r['method']} ({r['vat']}): {why}" for r in rows if (why := wrong(r, now[r["vat"]]))]
        if not faults:
            break
    for row in rows:
        reason = now[row["vat"]]["reason"]
        faults += [f"{row['method']} ({row['vat']}): the reason is {reason!r}, not /{row[key]}/"
                   for key in ("reason", "reasonToo") if not re.search(row[key], reason)]
    if faults:
        raise Failure("\n".join(faults))
    return now


def siege(kernel, witness, rows):
    attacks = []
    for row in [r for r in rows if not r["together"]]:
        attacks.append(Attack(row, kernel, witness))
        attacks[-1].end()
        witness.go_to(len(witness.trips) + 3)
        attacks[-1].slow = attacks[-1].slowest()
    crowd = [Attack(row, kernel, witness) for row in rows if row["together"]]
    for attack in crowd:
        attack.end()
    witness.go_to(len(witness.trips) + 3)
    for attack in crowd:
        attack.slow = attack.slowest()
    return attacks + crowd


def count(status):
    return {key: status[key] for key in ("illegal", "deaths")}


def main(path, witness_ref, victim_ref, seconds, attacks_path):
    with open(attacks_path, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    kernel = Kernel(path, float(seconds))
    before = kernel.get("getStatus", {})
    witness = Witness(kernel, witness_ref)
    witness.go_to(QUIET_TRIPS)
    quiet = statistics.median(witness.trips)
    attacks = siege(kernel, witness, rows)
    now = judge(kernel, rows)
    mine = {r["vat"] for r in rows}
    for v in before["vats"]:
        if v["id"] not in mine and any(v[k] != now[v["id"]][k] for k in ("status", "incarnation", "deaths", "pid")):
            raise Failure(f"no attacker, and yet: {v} is now {now[v['id']]}")
    after = count(kernel.get("getStatus", {}))
    wanted = {key: count(before)[key] + sum(r[key] for r in rows) for key in after}
    if after != wanted:
        raise Failure(f"the kernel counts {after}, wanted {wanted}")
    leaks = []
    kernel.call(victim_ref, "leaks", leaks.append)
    while not leaks:
        kernel.turn()
    if not leaks[0].startswith("#0 "):
        raise Failure(f"messages of abandoned cranks arrived: {leaks[0]}")
    for a in sorted(attacks, key=lambda a: -a.slow)[:12]:
        print(f"{a.row['method']}: the witness's slowest round trip {a.slow * 1e3:.2f} ms")
    print(f"{len(rows)} attacks, {len(witness.trips)} round trips, in quiet {quiet * 1e3:.2f} ms each")


try:
    main(*sys.argv[1:])
except Failure as failure:
    sys.exit(f"siege: {failure}")
