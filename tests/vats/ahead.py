#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
A vat that takes deliveries ahead, written frame by frame from docs/PROTOCOL.md, section 8, with no library: it has one method
that counts, whatever it is called. Each call reads the count from the vatstore, writes the next and answers it; lets go at
once of the object that it was given, which the deliveries behind it name as well; and calls that object back.
"""
import os, socket, struct

MESSAGE, STORE_VALUE, PING, SHUTDOWN, START, INIT = 0x11, 0x20, 0x21, 0x22, 0x10, 0x01
kernel = socket.socket(fileno=3)
waiting, said, taken, incarnation, most = [], b"", 0, 0, 0


def frame(kind, delivery, body=b"", flags=0):
    return struct.pack("<IHHQ", 16 + len(body), kind, flags, delivery) + body


def bytes_(data):
    return struct.pack("<II", len(data), 0) + data + bytes(-len(data) % 8)


def capdata(body, *slots):
    return struct.pack("<II%dQ" % len(slots), len(body), len(slots), *slots) + body + bytes(-len(body) % 8)


def receive():
    """A packet's frames to the end of `waiting`; the answer to a read is returned."""
    global incarnation
    answer, packet = None, kernel.recv(65536)
    if not packet:
        os._exit(1)
    while packet:
        size, kind, flags, number = struct.unpack_from("<IHHQ", packet)
        body, packet = packet[16:size], packet[size:]
        if kind == PING:
            kernel.send(frame(0x52, 0, body))
        elif kind == SHUTDOWN:
            os._exit(0)
        elif kind == STORE_VALUE:
            answer = flags, body
        elif kind == INIT:
            incarnation = struct.unpack_from("<Q", body, 8)[0]
        else:
            waiting.append((kind, number, body))
    return answer


def read(number, key):
    kernel.send(frame(0x4b, number, bytes_(key)))
    answer = None
    while answer is None:
        answer = receive()
    flags, body = answer
    at = 16 + struct.unpack_from("<I", body, 8)[0]
    return body[at + 8:at + 8 + struct.unpack_from("<I", body, at)[0]] if flags & 4 else b"0"


def count(number, body):
    _, result, length, n_slots = struct.unpack_from("<QQII", body)
    slots = struct.unpack_from("<%dQ" % n_slots, body, 24)
    n = b"%d" % (int(read(number, b"count")) + 1)
    out = frame(0x49, number, bytes_(b"count") + bytes_(n))
    for slot in slots:
        out += frame(0x41, number, struct.pack("<QQ", slot, 0) + capdata(b'#["seen",[%s]]' % n))
        out += frame(0x45, number, struct.pack("<IIQ", 1, 0, slot)) + frame(0x46, number, struct.pack("<IIQ", 1, 0, slot))
    if result:
        text = b'#"%s of incarnation %d"' % (n, incarnation)
        out += frame(0x43, number, struct.pack("<IIQII", 1, 0, result, 0, 0) + capdata(text))
    return out


kernel.send(frame(0x50, 0, struct.pack("<II", 1, 32)))
while True:
    while not waiting:
        receive()
    if len(waiting) > most:
        most = len(waiting)
        kernel.send(frame(0x51, 0, struct.pack("<II", 1, 0) + bytes_(b"ahead: %d" % most)))
    kind, number, body = waiting.pop(0)
    out = count(number, body) if kind == MESSAGE else b""
    kernel.send(out + frame(0x4e, number, bytes_(b"")))
