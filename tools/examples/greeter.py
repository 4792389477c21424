#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A service of a program outside: `greeter`, over the control socket. greeter.py [RUN-FOLDER]; docs/HOSTED.md explains it."""
import json
import socket
import sys


class Greeter:
    met = 0

    def hello(self, name):
        self.met += 1
        return f"Hello, {name}!"

    def count(self):
        return self.met

    def introduce(self, one, other):  # references: {"@": "ko7"}, in and out
        return {"met": [one, other]}


def answer(service, call):
    if call["args"] is None:  # only the raw body has them
        return {"error": {"code": 1, "message": "plain arguments, please"}}
    try:
        if call["method"].startswith("_"):
            raise AttributeError(f"no method {call['method']}")
        return {"result": getattr(service, call["method"])(*call["args"])}
    except Exception as e:
        return {"error": {"code": 2, "message": f"{type(e).__name__}: {e}"}}


def main(run="/run/capstan"):
    service, sock = Greeter(), socket.socket(socket.AF_UNIX)
    sock.connect(f"{run}/control.sock")
    kernel = sock.makefile("rw", encoding="utf-8", newline="\n")

    def send(**message):
        print(json.dumps({"jsonrpc": "2.0", **message}), file=kernel, flush=True)

    send(id=1, method="registerService", params={"name": "greeter"})
    for line in kernel:
        message = json.loads(line)
        if message.get("method") == "callService":
            send(id=message["id"], **answer(service, message["params"]))
        elif "error" in message:
            sys.exit(message["error"]["message"])
        else:
            print("serving", message["result"]["kref"], flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
