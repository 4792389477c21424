#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Calls the counter of ahead.py many times without waiting, and looks whether each call was done once, in its order."""
import sys
sys.path[:0] = sys.argv[1:2] or ["/vat"]
import vat
from vat import E


class Thing(vat.Object):
    def __init__(self):
        self.seen_ = []

    def seen(self, n):
        self.seen_.append(n)


class Asker(vat.Durable):
    def __init__(self, parameters):
        pass

    def bootstrap(self, vats, services=None):
        vat.baggage["counter"] = vats["counter"]
        return self

    async def ask(self, n):
        thing = Thing()
        answers = [E(vat.baggage["counter"]).count(thing) for _ in range(n)]
        words = [(await a).split() for a in answers]
        counts = [int(w[0]) for w in words]
        lives = [int(w[-1]) for w in words]
        if counts != list(range(counts[0], counts[0] + n)):
            raise vat.Error("not once each, in order: %r" % counts)
        if thing.seen_ != counts:
            raise vat.Error("called back otherwise: %r" % thing.seen_)
        return [counts[0], counts[-1], lives[0], lives[-1]]


vat.run(Asker)
