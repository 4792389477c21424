#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A vat on vatd/examples/vat.py that does what tests/unit/test_python.py and tests/system/python.sh tell it to."""
import os, sys
sys.path[:0] = sys.argv[1:2] or ["/vat"]
import vat
from vat import E

here = {}                                       # what this process holds, and no other


class Thing(vat.Object):
    def hello(self):
        return "hello"


class Note(vat.Durable):
    def __init__(self, text):
        self.text = text
        self.seen = []

    def read(self):
        return self.text

    def see(self, *what):
        self.seen += what

    def saw(self):
        return self.seen


class Peer(vat.Durable):
    def __init__(self, parameters):
        self.parameters = parameters
        self.started = 0

    def _start(self, parameters):
        self.started += 1

    def bootstrap(self, vats, services=None):
        vat.baggage["vats"] = vats
        return self

    def about(self):
        return [self.parameters, self.started, list(vat.identity())]

    def echo(self, *args):
        return list(args)

    def first(self, x):
        return x

    def nothing(self, *args):
        pass

    # Holding and letting go.
    def hold(self, name, x):
        here[name] = x

    def held(self, name):
        return here[name]

    def forget(self, name):
        del here[name]

    def make(self, keep=False):
        thing = Thing()
        if keep:
            here["thing"] = thing
        return thing

    def note(self, text):
        return Note(text)

    # The vatstore.
    def put(self, name, x):
        vat.baggage[name] = x

    def get(self, name):
        return vat.baggage.get(name, vat.undefined)

    def delete(self, name):
        del vat.baggage[name]

    def names(self):
        return list(vat.baggage)

    # Sending.
    def ask(self, target, method, *args):
        return vat.send(target, method, *args)

    async def wait(self, target, method, *args):
        return ["it said", await vat.send(target, method, *args)]

    async def both(self, p, q):
        return [await vat.settled(p), await vat.settled(q)]

    def chain(self, target):
        return E(E(E(target).one()).two()).three()

    def tell(self, target, method, *args):
        vat.tell(target, method, *args)

    async def trying(self, target, method):
        try:
            return await vat.send(target, method)
        except vat.Error as e:
            return {"name": e.name, "message": e.message, "code": e.code}

    # Promises of its own.
    def promise(self, name):
        here[name] = vat.Promise()
        return here[name]

    def settle(self, name, value):
        here[name].resolve(value)

    def reject(self, name, reason):
        here[name].reject(reason)

    def order(self, name, target):
        """b is sent after the promise was settled, and must come after a."""
        E(here[name]).a()
        here[name].resolve(target)
        E(here[name]).b()

    def rings(self):
        p, q = vat.Promise(), vat.Promise()
        p.resolve(["p", q])
        q.resolve(["q", p, p])
        return [p, q]

    def itself(self):
        p = here["itself"] = vat.Promise()
        p.resolve([p])
        return p

    # Mistakes.
    def fail(self):
        raise ValueError("no good")

    def open(self):
        return [Thing(), vat.Promise(), open("/dev/null")]

    def spoil(self):
        self.file = os

    def much(self, n):
        return "x" * n

    # The vat itself.
    async def sleep(self, seconds):
        await vat.sleep(seconds)
        return "awake"

    def leave(self, failure=False):
        vat.exit("bye", failure)

    def speak(self, text):
        vat.log(text, "warning")


vat.run(Peer)
