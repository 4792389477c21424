#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
A guest book, in Python, between vats in C: Carol makes the greeter that welcomes whoever signs, the counter numbers them.
Entries are durable objects: who has signed keeps his own, can show it around, and can withdraw it, after years.
"""
import sys
sys.path.insert(0, "/vat")                      # where the `files` of the cluster file are
import vat
from vat import E


class Entry(vat.Durable):
    def __init__(self, book, name, words):
        self.book, self.name, self.words = book, name, words

    def read(self):
        return "%s: %s" % (self.name, self.words)

    def withdraw(self):
        self.book._strike(self)


class Guestbook(vat.Durable):
    def __init__(self, parameters):             # once; what is assigned to self outlives the process
        self.welcome = parameters.get("welcome", "Welcome")
        self.entries, self.followers = [], []

    def _start(self, parameters):               # in each process
        self._next = vat.Promise()

    async def bootstrap(self, vats, services=None):
        self.counter = vats["counter"]
        self.greeter = await E(vats["carol"]).makeGreeter(self.welcome)
        return self

    async def sign(self, name, words):
        """Both may be promises. The answer holds one: the greeting, which may take longer than the entry."""
        name, words = await vat.settled(name), await vat.settled(words)
        if not isinstance(name, str) or not isinstance(words, str):
            raise TypeError("sign: a name and some words")
        entry = Entry(self, name, words)
        self.entries.append(entry)
        for follower in self.followers:
            E(follower).signed(entry).then(None, lambda why, f=follower: self._unfollow(f))
        self._next.resolve(entry)
        self._next = vat.Promise()
        vat.log("%s was here" % name)
        number = await E(self.counter).increment()
        return {"entry": entry, "greeting": E(self.greeter).greet(name), "number": number}

    def next(self):
        """A promise for the next entry."""
        return self._next

    def read(self):
        return [entry.read() for entry in self.entries]

    def follow(self, follower):
        """Whatever has a method `signed` is told of new entries until that fails."""
        self.followers.append(follower)

    def close(self):
        self._next.reject(vat.Error("the book is closed"))
        vat.exit("closed")

    def _unfollow(self, follower):
        if follower in self.followers:
            self.followers.remove(follower)

    def _strike(self, entry):
        if entry in self.entries:
            self.entries.remove(entry)


if __name__ == "__main__":
    vat.run(Guestbook)
