#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
vatd/examples/vat.py under a kernel that is played here, on fd 3: its own codec, written against docs/PROTOCOL.md, and a
model of clist and vatstore that finds every illegal syscall. Run from the top of the tree; speaks TAP.
"""
import bisect, json, os, re, select, signal, socket, struct, subprocess, sys, tempfile, time, traceback

PEER, GUESTBOOK, EXAMPLES = "tests/vats/peer.py", "vatd/examples/guestbook.py", os.path.abspath("vatd/examples")
PROMISE, MINUS, NONE = 1 << 63, 1 << 62, (1 << 64) - 1
SECONDS = 20                                    # that any answer may take


def o(n):
    return n if n >= 0 else MINUS | -n


def p(n):
    return PROMISE | o(n)


def d(kind, instance):
    return 2 << 60 | kind << 44 | instance << 8


def shown(ref):
    if ref >> 60 == 2:
        return "o+d%d.%d" % (ref >> 44 & 0xffff, ref >> 8 & (1 << 36) - 1)
    return "%s%s%d" % ("p" if ref & PROMISE else "o", "-" if ref & MINUS else "+", ref & (1 << 60) - 1)


def pad(b):
    return b + bytes(-len(b) % 8)


def capdata(body, slots=()):
    body = body.encode() if isinstance(body, str) else body
    return struct.pack("<II", len(body), len(slots)) + b"".join(struct.pack("<Q", s) for s in slots) + pad(body)


class Reader:
    """Fields of a frame, every one checked."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values if len(values) > 1 else values[0]

    def text(self, n):
        b = self.data[self.at:self.at + n]
        rest = self.data[self.at + n:self.at + n + -n % 8]
        assert len(b) == n and len(rest) == -n % 8 and not any(rest), "padding"
        self.at += n + -n % 8
        return b

    def bytes(self):
        n, zero = self.take("II")
        assert zero == 0
        return self.text(n)

    def capdata(self):
        n, count = self.take("II")
        assert n <= 16777216 and count <= 10000
        slots = [self.ref() for _ in range(count)]
        return self.text(n).decode(), slots

    def ref(self, cls=None, sign=None):
        r = self.take("Q")
        form = r >> 60 & 3
        assert form != 3 and (not form or not r & (PROMISE | MINUS) and r >> 8 & (1 << 36) - 1), hex(r)
        assert r not in (MINUS, PROMISE, PROMISE | MINUS), hex(r)
        assert cls is None or bool(r & PROMISE) == (cls == "p"), shown(r)
        assert sign is None or bool(r & MINUS) == (sign == "-"), shown(r)
        return r

    def list(self, element):
        n, zero = self.take("II")
        assert 1 <= n <= 10000 and zero == 0
        return [element() for _ in range(n)]

    def resolution(self):
        ref, flags, zero = self.take("QII")
        assert ref & PROMISE and zero == 0 and flags in (0, 1, 2), (hex(ref), flags)
        body, slots = self.capdata()
        assert flags != 2 or len(slots) == 1
        return ref, flags, body, slots

    def end(self):
        assert self.at == len(self.data), "bytes after the last field"


class Kernel:
    """One vat: its process, and what the kernel knows of it over all its incarnations."""

    def __init__(self, program=PEER, parameters="#{}", slots=()):
        self.program, self.parameters = program, (parameters, slots)
        self.store, self.clist = {}, {}
        self.clist[0] = {"reachable": True}
        self.number, self.incarnation, self.last = 100, 0, {"o": 0, "p": 0}
        self.logs, self.next_result, self.pings, self.woken = [], 1000, 0, False
        self.process = None
        self.start()

    # The process.

    def start(self):
        """The next incarnation: what decided promises and plain exports become of it is done first (section 12)."""
        if self.process:
            self.stop()
        self.incarnation += 1
        orphans = [r for r, e in self.clist.items() if r & PROMISE and e["decider"] == "vat"]
        self.clist = {r: e for r, e in self.clist.items() if r & (PROMISE | MINUS) or r >> 60 == 2 or r == 0}
        self.sock, child = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(SECONDS)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.process = subprocess.Popen([sys.executable, "-B", self.program, EXAMPLES], env={}, pass_fds=(3,),
                                        preexec_fn=lambda: os.dup2(child.fileno(), 3),
                                        stderr=open("/dev/stderr", "w") if os.environ.get("V") else subprocess.DEVNULL)
        child.close()
        self.packet, self.joined, self.crank = b"", b"", None
        self.frame(0x01, 0, struct.pack("<4QII", 7, self.incarnation, self.last["o"] + 1, self.last["p"] + 1, 1, 1))
        self.deliver(0x10, capdata(*self.parameters))
        if orphans:
            rejected = '#{"#error":"[KERNEL:VAT_RESTARTED] v7","name":"Error"}'
            self.notify(*[(r, 5, rejected, ()) for r in sorted(orphans)])

    def stop(self):
        self.sock.close()
        assert self.process.wait(SECONDS) == 1, "at the end of the channel it must go"

    def frame(self, kind, number, body, flags=0):
        f = struct.pack("<IHHQ", 16 + len(body), kind, flags, number) + body
        if len(f) <= 65536:
            self.sock.send(f)
            return
        for at in range(0, len(f), 65512):
            piece = f[at:at + 65512]
            self.sock.send(struct.pack("<IHHQII", 24 + len(piece), 0x3f, 0, 0, len(f), at) + piece)

    def receive(self):
        """The next frame of the vat: type, flags, number, body; parts joined, form checked."""
        while not self.packet:
            self.packet = self.sock.recv(65537)
            assert self.packet, "the vat died"
            assert len(self.packet) <= 65536
        size, kind, flags, number = struct.unpack_from("<IHHQ", self.packet)
        assert size % 8 == 0 or kind == 0x3f, size
        assert 16 <= size <= (len(self.packet) if not self.joined_frame else 35651584), size
        body, self.packet = self.packet[16:size], self.packet[size:]
        self.joined_frame = False
        if kind == 0x3f:
            total, at = struct.unpack_from("<II", body)
            assert not self.packet and flags == 0 and number == 0, "a part is alone"
            assert total > 65536 and total % 8 == 0 and at == len(self.joined) and total >= at + len(body) - 8
            self.joined += body[8:]
            assert len(self.joined) == total or size == 65536, "every part but the last fills its packet"
            if len(self.joined) == total:
                self.packet, self.joined, self.joined_frame = self.joined, b"", True
            return self.receive()
        assert not self.joined, "nothing between parts"
        return kind, flags, number, body
    joined_frame = False

    # Deliveries.

    def deliver(self, kind, body=b"", expect="done"):
        """Deliver; answer reads; apply what the vat asks for when it is done. Returns it: a list of (name, …)."""
        self.number += 3
        self.walked, self.walk = None, []
        self.before = {r: dict(e) for r, e in self.clist.items()}
        self.frame(kind, self.number, body)
        syscalls, writes, total = [], dict(self.store), 0
        while True:
            k, flags, number, data = self.receive()
            r = Reader(data)
            total += 16 + len(data)
            assert total <= 67108864, "more than a crank may ask for"
            if k >= 0x50:
                assert number == 0 and flags == 0
                self.aside(k, r)
            else:
                assert number == self.number
                syscall = self.decode(k, flags, r, writes)
                if syscall and syscall[0] == "done":
                    assert syscall[1] == (expect != "done"), syscall
                    if expect == "done":
                        self.store = writes
                        for s in syscalls:
                            self.apply(*s)
                    return syscalls if expect == "done" else syscall[2]
                if syscall:
                    syscalls.append(syscall)
            r.end()

    def aside(self, k, r):
        if k == 0x50:
            assert r.take("II") == (1, 1)
        elif k == 0x51:
            level, zero = r.take("II")
            assert level < 4 and zero == 0
            self.logs.append((level, r.bytes().decode()))
        elif k == 0x52:
            assert r.take("Q") == 0x1234567890 + self.pings
            self.pings += 1
        else:
            assert k == 0x53, hex(k)
            self.woken = True

    def decode(self, k, flags, r, writes):
        assert not flags or k in (0x44, 0x4e), "flags"
        if k == 0x41:
            target, result = r.ref(), r.take("Q")
            return ("send", target, result) + r.capdata()
        if k == 0x42:
            return "subscribe", r.ref("p")
        if k == 0x43:
            return "resolve", r.list(r.resolution)
        if k == 0x44:
            return ("exit", flags) + r.capdata()
        if k in (0x45, 0x46):
            return ("dropImports", "retireImports")[k - 0x45], r.list(lambda: r.ref("o", "-"))
        if k in (0x47, 0x48):
            return ("retireExports", "abandonExports")[k - 0x47], r.list(lambda: r.ref("o", "+"))
        if k == 0x49:
            key, value = r.bytes(), r.bytes()
            assert 1 <= len(key) <= 4096
            writes[key] = value
        elif k == 0x4a:
            writes.pop(r.bytes(), None)
        elif k == 0x4b:
            key = r.bytes()
            self.answer(key in writes, value=writes.get(key, b""))
        elif k == 0x4c:
            key = r.bytes()
            found = min((x for x in writes if x > key), default=None)
            self.answer(found is not None, key=found or b"")
        elif k == 0x4d:
            at = r.take("Q")
            if self.walked is not self.before:      # as it was before the crank: sorted once for all its reads
                self.walked = self.before
                self.walk = sorted((self.walk_order(x), x) for x in self.before if x & (MINUS | PROMISE))
            i = 0 if at == NONE else bisect.bisect(self.walk, (self.walk_order(at), NONE))
            found = self.walk[i][1] if i < len(self.walk) else 0
            self.answer(bool(found), found, found and self.before[found].get("reachable", True))
        elif k == 0x4e:
            return "done", bool(flags & 2), r.bytes().decode()
        else:
            raise AssertionError("frame 0x%x" % k)

    @staticmethod
    def walk_order(r):
        return bool(r & PROMISE), bool(r & MINUS) if r & PROMISE else True, r & (1 << 60) - 1

    def answer(self, found, ref=0, reachable=False, key=b"", value=b""):
        if self.ping_before_answers:
            self.frame(0x21, 0, struct.pack("<Q", 0x1234567890 + self.pings))
        fields = b"".join(struct.pack("<II", len(x), 0) + pad(x) for x in (key, value))
        self.frame(0x20, self.number, struct.pack("<Q", ref) + fields, (4 if found else 0) | (8 if reachable else 0))
    ping_before_answers = False

    # What the kernel makes of syscalls (sections 9 and 11).

    def mention(self, ref):
        if ref & MINUS:
            assert ref in self.clist, "%s is not in the clist" % shown(ref)
            assert self.clist[ref].get("reachable", True), "%s was dropped" % shown(ref)
        elif ref not in self.clist:
            self.new(ref)
            self.clist[ref] = {"decider": "vat", "subscribed": False} if ref & PROMISE else {"reachable": True}
        elif not ref & PROMISE:
            self.clist[ref]["reachable"] = True

    def new(self, ref):
        if ref >> 60 & 3 == 0:
            cls, n = "p" if ref & PROMISE else "o", ref & (1 << 60) - 1
            assert n > self.last[cls], "%s is used for a second thing" % shown(ref)
            self.last[cls] = n

    def apply(self, name, *args):
        if name == "send":
            target, result, _, slots = args
            for s in [target] + slots:
                self.mention(s)
            if result and result in self.clist:
                assert self.clist[result]["decider"] == "vat", "a result that it does not decide"
                self.clist[result]["decider"] = "other"
            elif result:
                assert result & PROMISE and not result & MINUS
                self.new(result)
                self.clist[result] = {"decider": "other", "subscribed": False}
        elif name == "subscribe":
            self.mention(args[0])
            self.clist[args[0]]["subscribed"] = True
        elif name == "resolve":
            for ref, _, _, slots in args[0]:
                for s in [ref] + slots:
                    self.mention(s)
            for ref, _, _, _ in args[0]:
                assert self.clist.pop(ref)["decider"] == "vat", "%s is not its to settle" % shown(ref)
        elif name == "exit":
            for s in args[2]:
                self.mention(s)
        elif name == "dropImports":
            for r in args[0]:
                self.clist[r]["reachable"] = False
        else:
            assert len(set(args[0])) == len(args[0])
            for r in args[0]:
                assert not self.clist.pop(r)["reachable"], "%s is still reachable" % shown(r)

    # Shorter.

    def introduce(self, refs):
        for r in refs:
            if r & PROMISE:
                self.clist.setdefault(r, {"decider": "other", "subscribed": False})
            elif r & MINUS:
                self.clist[r] = {"reachable": True}

    def message(self, method, body="", slots=(), target=0, result=True, raw=None):
        """A message with arguments as smallcaps, without the brackets. Returns what the vat asked for."""
        if result is True:
            self.next_result += 1
            result = p(-self.next_result)
        self.result = result
        self.introduce(list(slots) + ([result] if result else []))
        if result:
            self.clist[result]["decider"] = "vat"
        raw = '#["%s",[%s]]' % (method, body) if raw is None else raw
        return self.deliver(0x11, struct.pack("<QQ", target, result or 0) + capdata(raw, slots))

    def call(self, *args, **kwargs):
        """A message that is answered in its own crank: (body, slots), or the body of the rejection."""
        asked = self.message(*args, **kwargs)
        return self.settled(asked, self.result)

    def settled(self, asked, promise):
        for s in asked:
            for ref, flags, body, slots in s[1] if s[0] == "resolve" else ():
                if ref == promise:
                    return body if flags & 1 else (body, slots)
        raise AssertionError("%s was not settled: %s" % (shown(promise), asked))

    def notify(self, *resolutions):
        body = struct.pack("<II", len(resolutions), 0)
        for ref, flags, value, slots in resolutions:
            self.introduce(slots)
            body += struct.pack("<QII", ref, flags, 0) + capdata(value, slots)
        for r in resolutions:
            self.clist.pop(r[0], None)
        return self.deliver(0x12, body)

    def refs(self, kind, *refs):
        """dropExports, retireExports, retireImports."""
        for r in refs:
            if kind == 0x13:
                self.clist[r]["reachable"] = False
            else:
                assert not self.clist.pop(r)["reachable"]
        return self.deliver(kind, struct.pack("<II%dQ" % len(refs), len(refs), 0, *refs))

    def bring_out(self):
        """bringOutYourDead, and the wakes that the vat asks for to go on with it: what was let go."""
        asked = self.deliver(0x16)
        while self.woken:
            self.woken = False
            asked += self.deliver(0x17)
        return {name: sorted(shown(r) for s in asked if s[0] == name for r in s[1])
                for name in {s[0] for s in asked} if name != "subscribe"}


def equal(wanted, got, what="value"):
    assert wanted == got, "%s: wanted %r, got %r" % (what, wanted, got)


def one(asked, name):
    found = [s for s in asked if s[0] == name]
    assert len(found) == 1, (name, asked)
    return found[0]


# --- tests ----------------------------------------------------------------------------------------------------------------

def test_start():
    k = Kernel(parameters='#{"n":["+5",1.5,"!#x"]}')
    equal(('#[{"n":["+5",1.5,"!#x"]},1,[7,1]]', []), k.call("about"))
    k.start()
    equal(('#[{"n":["+5",1.5,"!#x"]},2,[7,2]]', []), k.call("about"))
    k.stop()


def test_values():
    """What comes in goes out the same: the vectors that @endo/marshal made."""
    k = Kernel()
    text = open("tests/unit/smallcaps_vectors.h", encoding="utf-8").read()

    def unquote(c):
        return eval("b" + re.sub(r"[^\x00-\x7f]", lambda m: "".join("\\x%02x" % b for b in m[0].encode()), c)).decode()
    bodies = re.findall(r'^\t\{ ("(?:[^"\\]|\\.)*"), (\d+) \},$', text, re.M)
    assert len(bodies) > 60
    for literal, n in bodies:
        body = unquote(literal)
        slots = [p(-5 - i) if '"&%d"' % i in body else o(-5 - i) for i in range(int(n))]
        equal(("#[%s]" % body[1:], slots), k.call("echo", body[1:], slots), "vector")
    numbers = re.findall(r'UINT64_C\((0x[0-9a-f]+)\), "(.*)"', text)
    assert len(numbers) > 500
    for at in range(0, len(numbers), 50):
        some = ",".join(t for _, t in numbers[at:at + 50])
        equal(("#[%s]" % some, []), k.call("echo", some), "numbers")
    k.stop()


def test_messages():
    k = Kernel()
    equal(('#[1,"a",{"x":null}]', []), k.call("echo", '1,"a",{"x":null}'))
    equal(('#"#undefined"', []), k.call("nothing"))
    equal(('#["$0.Alleged: Counter","$1","$0"]', [o(-1), o(-2)]),
          k.call("echo", '"$0.Alleged: Counter","$1","$0"', (o(-1), o(-2))))
    # exactly one reference: REF
    asked = k.message("first", '"$0.Alleged: Counter"', (o(-1),))
    equal([("resolve", [(k.result, 2, '#"$0.Alleged: Counter"', [o(-1)])])], asked)
    equal(('#"$0.Alleged: Peer"', [0]), k.call("first", '"$0"', (0,)))
    # no result wanted, none given
    equal([], k.message("echo", "1", result=None))
    # without an answer a failure is told to people
    equal([], k.message("fail", result=None))
    assert any("no good" in text for level, text in k.logs if level == 2), k.logs
    k.stop()


def test_rejections():
    k = Kernel()
    equal('#{"#error":"Peer has no method \\"nonsense\\"","name":"TypeError"}', k.call("nonsense"))
    for private in ("_start", "__init__", "__class__", "_ref", "parameters", "__dict__", "", "\\u0000"):
        assert "has no method" in k.call(private), private
    equal('#{"#error":"ValueError: no good","name":"Error"}', k.call("fail"))
    assert "TypeError" in k.call("first", "1,2")
    equal('#{"#error":"the answer cannot be passed: a TextIOWrapper cannot be passed","name":"TypeError"}', k.call("open"))
    # the numbers that its encoding took were never mentioned, and the vat is as it was
    equal(("#1", []), k.call("first", "1"))
    k.stop()


def test_malformed_bodies():
    k = Kernel()
    for raw in (b"", b"#", b"[]", b"# ", b"#\xff", b"#[", b"#1", b"#{}", b'#["echo"]', b'#["echo",[],1]', b'#["echo",{}]',
                b'#[1,[]]', b'#["echo",[NaN]]', b'#["echo",[Infinity]]', b'#["echo",["#x"]]', b'#["echo",["$0"]]',
                b'#["echo",["&0"]]', b'#["echo",["$99999999999"]]', b'#["echo",["+"]]', b'#["echo",["+1x"]]',
                b'#["echo",[{"#x":1}]]', b'#["echo",[{"$x":1}]]', b'#["echo",[{"#error":1}]]', b'#["echo",["*"]]',
                '#["echo",["+\u0661"]]'.encode(), b'#["echo",[{"#tag":1,"payload":2}]]', b'#["echo",["$-1"]]',
                b"#" + b"[" * 100000, b'#["echo",' + b"[" * 5000 + b"]" * 5000 + b"]", b"#" + b"9" * 5000, b"\0" * 64,
                b'#["first",["+' + b"9" * 5000 + b'"]]', b'#["first",["$1"]]'):
        body = k.call("", raw=raw)
        assert isinstance(body, str) and body.startswith('#{"#error":'), (raw[:40], body)
    # a slot of the other class; and what came with a body that means nothing is let go of
    assert "slot 0 is no promise" in k.call("", raw='#["first",["&0"]]', slots=(o(-9),))
    assert isinstance(k.call("", raw="nonsense", slots=(o(-9), o(-10))), str)
    equal({"dropImports": ["o-10", "o-9"], "retireImports": ["o-10", "o-9"]}, k.bring_out())
    # unusual, but legal
    equal(("#[1]", []), k.call("echo", " 1 "))
    equal(("#[18014398509481984]", []), k.call("echo", "18014398509481984"))
    equal(('#["\\ud800"]', []), k.call("echo", '"\\ud800"'))
    # the target is nothing that the vat has
    assert "no object o+77" in k.call("echo", target=o(77))
    k.stop()


def test_promises_out():
    """Its own promises: passed before and after they are settled, by value, by reference, with an error."""
    k = Kernel()
    body, (a,) = k.call("promise", '"a"')
    equal('#"&0"', body)
    equal(p(1), a)
    asked = k.message("settle", '"a",[1,"$0"]', (o(-1),))
    assert ("resolve", [(a, 0, '#[1,"$0"]', [o(-1)])]) in asked, asked
    # now settled: passed on under a new number, which is settled at once
    asked = k.message("held", '"a"')
    equal([("resolve", [(k.result, 0, '#[1,"$0"]', [o(-1)])])], asked)
    k.call("hold", '"list",1')
    asked = k.message("echo", '"&0"', (p(-7),))
    assert ("subscribe", p(-7)) in asked
    # with a single reference; with another promise, which it follows; with an error
    b = k.call("promise", '"b"')[1][0]
    assert ("resolve", [(b, 2, '#"$0"', [o(-1)])]) in k.message("settle", '"b","$0"', (o(-1),))
    c = k.call("promise", '"c"')[1][0]
    assert ("resolve", [(c, 2, '#"&0"', [p(-7)])]) in k.message("settle", '"c","&0"', (p(-7),))
    e = k.call("promise", '"e"')[1][0]
    error = '{"#error":"why","name":"RangeError"}'
    assert ("resolve", [(e, 1, "#" + error, [])]) in k.message("reject", '"e",' + error)
    f = k.call("promise", '"f"')[1][0]
    assert ("resolve", [(f, 1, "#[1]", [])]) in k.message("reject", '"f",[1]')
    assert "settled already" in k.call("settle", '"f",1')
    # a promise cannot become itself
    g = k.call("promise", '"g"')[1][0]
    k.introduce([g])
    asked = k.message("settle", '"g","&0"', (g,))
    assert asked[0][1][0][:2] == (g, 1) and "cannot become itself" in asked[0][1][0][2], asked
    k.stop()


def test_promise_rings():
    k = Kernel()
    asked = k.message("rings")
    batch = one(asked, "resolve")[1]
    (result, _, body, (a, b)) = batch[0]
    equal((k.result, '#["&0","&1"]'), (result, body))
    equal([(a, 0, '#["p","&0"]', [b]), (b, 0, '#["q","&0","&0"]', [a])], batch[1:])
    asked = k.message("itself")
    batch = one(asked, "resolve")[1]
    inner = batch[-1][0]
    equal([(k.result, 0, '#["&0"]', [inner]), (inner, 0, '#["&0"]', [inner])], batch, "a value that holds its promise")
    k.stop()


def test_promises_in():
    """Those of others: awaited, notified in any company, rejected, with the kernel's code."""
    k = Kernel()
    asked = k.message("both", '"&0","&1"', (p(-1), p(-2)))
    equal([("subscribe", p(-1)), ("subscribe", p(-2))], asked)
    result = k.result
    equal([], k.notify((p(-2), 0, '#["two","$0","&1","&2"]', (o(-3), p(-50), p(-51))),
                       (p(-50), 0, '#["&0"]', (p(-2),)), (p(-51), 1, '#"no error"', ())))
    asked = k.notify((p(-1), 0, "#1", ()))
    body, slots = k.settled(asked, result)
    equal('#[1,["two","$0","&1","&2"]]', body)
    equal(o(-3), slots[0])
    # those two are settled here: new numbers, settled by the same crank, the ring (p-2 in p-50) closed again
    batch = {r: (flags, value, s) for s in asked if s[0] == "resolve" for r, flags, value, s in [x[:4] for x in s[1]]}
    equal((1, '#"no error"', []), batch[slots[2]])
    flags, value, (ring,) = batch[slots[1]]
    equal((0, '#["&0"]'), (flags, value))
    equal((0, '#["two","$0","&1","&2"]', [o(-3), slots[1], slots[2]]), batch[ring])
    # an await that fails
    k.message("both", '"&0",1', (p(-4),))
    result = k.result
    equal('#{"#error":"sad","name":"TypeError"}',
          k.settled(k.notify((p(-4), 1, '#{"#error":"sad","name":"TypeError"}', ())), result))
    # a value that means nothing breaks the promise; a promise of nobody's is ignored
    k.message("both", '"&0",1', (p(-5),))
    assert "not smallcaps" in k.settled(k.notify((p(-5), 0, "nonsense", ())), k.result)
    equal([], k.notify((p(77), 0, "#1", ()), (p(-77), 0, '#"&0"', (p(-77),))))
    # fulfilled with itself, without REF: it never comes, and must not hang the vat
    k.message("both", '"&0",1', (p(-6),))
    assert "cannot become itself" in k.settled(k.notify((p(-6), 0, '#"&0"', (p(-6),))), k.result)
    # the code of a kernel's error counts with the flag only
    for flags, code in ((5, '"OBJECT_DELETED"'), (1, "null")):
        asked = k.message("trying", '"$0","x"', (o(-1),))
        result, question = k.result, one(asked, "send")[2]
        equal(('#{"code":%s,"message":"[KERNEL:OBJECT_DELETED] ko9","name":"Error"}' % code, []), k.settled(
            k.notify((question, flags, '#{"#error":"[KERNEL:OBJECT_DELETED] ko9","name":"Error"}', ())), result))
    k.stop()


def test_sends():
    k = Kernel()
    asked = k.message("ask", '"$0","deposit","+5","$0"', (o(-1),))
    send = one(asked, "send")
    equal(("send", o(-1), p(1), '#["deposit",["+5","$0"]]', [o(-1)]), send)
    # the answer is the answer: forwarded, and asked about, for nothing else takes it out of the clist
    assert ("resolve", [(k.result, 2, '#"&0"', [p(1)])]) in asked and ("subscribe", p(1)) in asked, asked
    equal([], k.notify((p(1), 0, "#5", ())))
    asked = k.message("wait", '"$0","balance"', (o(-1),))
    result = k.result
    equal(('#["it said",[7]]', []), k.settled(k.notify((one(asked, "send")[2], 0, "#[7]", ())), result))
    # pipelined, in one crank
    sends = [s for s in k.message("chain", '"$0"', (o(-1),)) if s[0] == "send"]
    equal(['#["one",[]]', '#["two",[]]', '#["three",[]]'], [s[3] for s in sends])
    equal([o(-1), sends[0][2], sends[1][2]], [s[1] for s in sends], "targets")
    # to a promise that came in, and to one of its own: a waits at the kernel, and b must not overtake it
    equal(p(-3), one(k.message("ask", '"&0","x"', (p(-3),)), "send")[1])
    k.message("hold", '"later",1')
    k.call("promise", '"later"')
    asked = [s for s in k.message("order", '"later","$0"', (o(-1),)) if s[0] in ("send", "resolve")]
    equal(["send", "resolve", "send", "resolve"], [s[0] for s in asked])
    equal(('#["a",[]]', '#["b",[]]', o(-1)), (asked[0][3], asked[2][3], asked[2][1]))
    # without an answer; to itself; to what is no object
    equal(0, one(k.message("tell", '"$0","x"', (o(-1),)), "send")[2])
    equal(0, one(k.message("tell", '"$0","x"', (0,)), "send")[1])
    assert "cannot send x to a int" in k.call("ask", '5,"x"')
    # a result that comes home: the vat asked itself, and now decides
    asked = k.message("ask", '"$0","echo",1', (0,))
    question = one(asked, "send")[2]
    equal(("#[1]", []), k.call("echo", "1", result=question))
    k.stop()


def test_baggage():
    k = Kernel()
    k.call("put", '"a",[1,"+2","$0.Alleged: Bank",{"x":"$0"}]', (o(-1),))
    k.call("put", '"b","$0"', (o(-2),))
    assert "does not outlive" in k.call("put", '"c","&0"', (p(-3),))
    k.notify((p(-3), 0, "#1", ()))
    body, (thing,) = k.call("make", "true")
    assert "Thing does not outlive" in k.call("put", '"c","$0"', (thing,))
    equal(('#["a","b"]', []), k.call("names"))
    k.start()
    equal(('#[1,"+2","$0.Alleged: Bank",{"x":"$0"}]', [o(-1)]), k.call("get", '"a"'))
    equal(('#"#undefined"', []), k.call("get", '"c"'))
    k.call("delete", '"b"')
    assert "KeyError" in k.call("delete", '"b"')
    equal({"dropImports": ["o-2"], "retireImports": ["o-2"]}, k.bring_out())
    k.call("delete", '"a"')
    equal({"dropImports": ["o-1"], "retireImports": ["o-1"]}, k.bring_out())
    assert not any(key.startswith((b"b.", b"r.o-")) for key in k.store), k.store
    k.stop()


def test_durables():
    k = Kernel()
    body, (note,) = k.call("note", '"remember"')
    equal(('#"$0.Alleged: Note"', d(1, 1)), (body, note))
    k.call("see", '"$0","x"', (o(-1),), target=note)
    equal(d(1, 2), k.call("note", '"another"')[1][0])
    k.start()
    equal(('#"remember"', []), k.call("read", target=note))
    equal(('#["$0","x"]', [o(-1)]), k.call("saw", target=note))
    equal(d(1, 3), k.call("note", '"third"')[1][0])
    # it comes back as itself, and can be kept
    k.call("put", '"note","$0"', (note,))
    k.start()
    equal(('#"$0.Alleged: Note"', [note]), k.call("get", '"note"'))
    # Others let go of it: kept by the baggage. Then by nobody: its state goes, and what it holds.
    k.refs(0x13, note)
    equal({}, k.bring_out())
    equal(('#"$0.Alleged: Note"', [note]), k.call("get", '"note"'), "exported again")
    k.refs(0x13, note)
    k.call("delete", '"note"')
    equal({"retireExports": ["o+d1.1"], "dropImports": ["o-1"], "retireImports": ["o-1"]}, k.bring_out())
    assert not any(b"d1.1" in key for key in k.store), k.store
    # both at once by the kernel
    k.refs(0x13, d(1, 2))
    k.refs(0x14, d(1, 2))
    equal({}, k.bring_out())
    assert not any(b"d1.2" in key for key in k.store), k.store
    # what cannot be kept stops the crank, with a sentence, and nothing of it has happened
    before = dict(k.store)
    k.next_result += 1
    k.introduce([p(-k.next_result)])
    text = k.deliver(0x11, struct.pack("<QQ", 0, p(-k.next_result)) + capdata('#["spoil",[]]'), expect="error")
    equal("TypeError: Peer.file: a module cannot be passed", text)
    equal(before, k.store)
    assert any(level == 3 and "Peer.file" in line for level, line in k.logs)
    assert k.process.wait(SECONDS) == 1
    k.process = None
    k.sock.close()


def test_durable_in_memory_only():
    """A Durable that only the process knew is found after a restart, and buried."""
    k = Kernel()
    body, (note,) = k.call("note", '"short"')
    k.call("hold", '"n","$0"', (note,))
    k.call("see", '"$0"', (o(-1),), target=note)
    k.refs(0x13, note)
    equal({}, k.bring_out())
    k.start()
    equal({"retireExports": ["o+d1.1"], "dropImports": ["o-1"], "retireImports": ["o-1"]}, k.bring_out())
    assert not any(b"d1.1" in key for key in k.store), k.store
    k.stop()


def test_garbage_imports():
    k = Kernel()
    k.call("hold", '"a","$0"', (o(-1),))
    k.call("hold", '"b",["$0",{"x":"$1"}]', (o(-2), o(-3)))
    k.call("echo", '"$0","$1"', (o(-3), o(-4)))
    equal({"dropImports": ["o-4"], "retireImports": ["o-4"]}, k.bring_out())
    equal({}, k.bring_out())
    k.call("forget", '"b"')
    # it is mentioned again before it is collected: held on
    k.call("hold", '"c","$0"', (o(-3),))
    equal({"dropImports": ["o-2"], "retireImports": ["o-2"]}, k.bring_out())
    # an await holds what it holds
    k.message("both", '"&0",["$1"]', (p(-1), o(-5)))
    equal({}, k.bring_out())
    k.notify((p(-1), 0, "#1", ()))
    equal({"dropImports": ["o-5"], "retireImports": ["o-5"]}, k.bring_out())
    # more than one crank will do
    for at in range(100, 12100, 6000):
        slots = [o(-n) for n in range(at, at + 6000)]
        k.call("nothing", ",".join('"$%d"' % i for i in range(6000)), slots)
    gone = k.bring_out()
    equal(12000, len(gone["dropImports"]))
    equal(gone["dropImports"], gone["retireImports"])
    equal(["o-1", "o-3"], sorted(shown(r) for r in k.clist if r & MINUS and not r & PROMISE))
    # retired by the kernel while the vat holds it: messages fail here, the vat lives
    k.clist[o(-1)]["reachable"] = False
    k.refs(0x15, o(-1))
    assert "gone" in k.call("held", '"a"')
    k.call("forget", '"a"')
    equal({}, k.bring_out())
    k.stop()


def test_garbage_exports():
    k = Kernel()
    body, (thing,) = k.call("make")
    equal(('#"hello"', []), k.call("hello", target=thing))
    equal({}, k.bring_out())
    k.refs(0x13, thing)
    equal({"retireExports": [shown(thing)]}, k.bring_out())
    # held here: recognised until it is forgotten, and the same number comes again
    body, (kept,) = k.call("make", "true")
    k.refs(0x13, kept)
    equal({}, k.bring_out())
    equal([kept], k.call("held", '"thing"')[1])
    k.refs(0x13, kept)
    k.refs(0x14, kept)
    body, (again,) = k.call("held", '"thing"')
    assert again == kept + 1, "a retired number is not used again"
    k.call("forget", '"thing"')
    equal({}, k.bring_out())
    k.refs(0x13, again)
    equal({"retireExports": [shown(again)]}, k.bring_out())
    k.stop()


def test_restart():
    """The second incarnation: numbers go on, what it does not know is let go, what it decided is told and ignored."""
    k = Kernel()
    k.call("put", '"kept","$0"', (o(-1),))
    k.call("hold", '"lost","$0"', (o(-2),))
    k.message("ask", '"$0","x"', (o(-3),))
    k.message("both", '"&0",1', (p(-9),))
    undone = k.result
    k.call("promise", '"mine"')
    k.call("make", "true")
    k.clist[o(-4)] = {"reachable": False}
    last = dict(k.last)
    k.start()
    gone = k.bring_out()
    equal(["o-2", "o-3", "o-4"], gone["dropImports"])
    equal(["o-2", "o-3", "o-4"], gone["retireImports"])
    # every promise that is left was asked about by this incarnation or the one before; the walk asks again
    equal([p(1), p(-9)], sorted((r for r in k.clist if r & PROMISE and r != undone), key=k.walk_order))
    assert all(k.clist[r]["subscribed"] for r in (p(1), p(-9)))
    equal([], k.notify((p(1), 0, "#1", ()), (p(-9), 0, '#"$0"', (o(-8),))))
    equal({"dropImports": ["o-8"], "retireImports": ["o-8"]}, k.bring_out())
    equal(('#"$0"', [o(-1)]), k.call("get", '"kept"'))
    assert k.call("make")[1][0] == last["o"] + 1
    assert k.call("promise", '"mine"')[1][0] == p(last["p"] + 1)
    # many: more than may be read in a crank
    k.introduce([o(-n) for n in range(1000, 9000)])
    k.start()
    equal(8000, len(k.bring_out()["dropImports"]))
    k.stop()


def test_parts():
    """A body of 1 MiB in, and out; and the largest there is is refused by a rejection."""
    k = Kernel()
    much = "y" * (1 << 20)
    body, _ = k.call("first", '"%s"' % much)
    assert body == '#"%s"' % much
    # exactly what fits a packet, and 8 bytes more
    for n in range(65536 - 120, 65536 + 16, 4):
        equal(n + 3, len(k.call("much", str(n))[0]))
    k.call("put", '"much","%s"' % much)
    k.start()
    assert k.call("get", '"much"')[0] == '#"%s"' % much
    assert "cannot be passed" in k.call("much", str(16777216))
    equal(16777216, len(k.call("much", str(16777216 - 3))[0]))
    k.stop()


def test_too_much():
    """What others send may make a crank answer with more than it may: some answers become rejections, and the vat lives."""
    k = Kernel()
    results = []
    for _ in range(8):
        k.message("both", '"&0",1', (p(-1),))
        results.append(k.result)
    asked = k.notify((p(-1), 0, '#"%s"' % ("x" * 12000000), ()))
    answers = [k.settled(asked, r) for r in results]
    equal(5, sum(isinstance(a, tuple) for a in answers), "answers that came through")
    assert all("one delivery may not pass so much" in a for a in answers if isinstance(a, str))
    # many references: 8 answers with 9,998 each
    results = []
    for _ in range(8):
        k.message("both", '"&0",1', (p(-2),))
        results.append(k.result)
    slots = [o(-n) for n in range(100, 10098)]
    asked = k.notify((p(-2), 0, "#[%s]" % ",".join('"$%d"' % i for i in range(len(slots))), slots))
    answers = [k.settled(asked, r) for r in results]
    equal(3, sum(isinstance(a, tuple) for a in answers), "answers that came through")
    k.stop()


def test_ping():
    """At rest, before the answer to a read, in the middle of parts' crank."""
    k = Kernel()
    k.frame(0x21, 0, struct.pack("<Q", 0x1234567890))
    k.call("echo")
    equal(1, k.pings)
    k.ping_before_answers = True
    k.call("put", '"a",1')
    equal(("#1", []), k.call("get", '"a"'))
    assert k.pings >= 3, k.pings
    k.stop()


def test_shutdown():
    for moment in ("rest", "read"):
        k = Kernel()
        if moment == "read":
            k.frame(0x11, k.number + 1, struct.pack("<QQ", 0, 0) + capdata('#["get",["a"]]'))
            while k.receive()[0] != 0x4b:
                pass
        k.frame(0x22, 0, b"")
        equal(0, k.process.wait(SECONDS), "exit status")
        k.sock.close()


def test_wake():
    k = Kernel()
    k.message("sleep", "0.01")
    result = k.result
    kind, _, number, _ = k.receive()
    equal((0x53, 0), (kind, number))
    while True:
        asked = k.deliver(0x17)
        if asked:
            break
        while k.receive()[0] != 0x53:
            pass
    equal(('#"awake"', []), k.settled(asked, result))
    k.stop()


def test_exit_and_log():
    k = Kernel()
    k.call("speak", '"line\\nand line\\u001b"')
    equal([(2, "line"), (2, "and line\x1b")], k.logs)
    k.call("speak", '"%s"' % ("\u00e9" * 9000))
    equal(8192, len(k.logs[-1][1].encode()))
    asked = k.message("leave")
    equal(("exit", 0, '#"bye"', []), one(asked, "exit"))
    k.stop()
    k = Kernel()
    equal(1, one(k.message("leave", "true"), "exit")[1])
    k.stop()


def test_guestbook():
    k = Kernel(GUESTBOOK, '#{"welcome":"Hi"}')
    asked = k.message("bootstrap", '{"carol":"$0","counter":"$1"},{}', (o(-1), o(-2)))
    launch, question = k.result, one(asked, "send")
    equal('#["makeGreeter",["Hi"]]', question[3])
    equal(('#"$0.Alleged: Guestbook"', [0]), k.settled(k.notify((question[2], 2, '#"$0.Alleged: Greeter"', (o(-3),))), launch))
    waiting = k.call("next")[1][0]
    # one signs with a name that is still to come
    asked = k.message("sign", '"&0","hello"', (p(-1),))
    signed = k.result
    equal([("subscribe", p(-1))], asked)
    asked = k.notify((p(-1), 0, '#"Ann"', ()))
    equal([(waiting, 2, '#"$0.Alleged: Entry"', [d(1, 1)])], one(asked, "resolve")[1], "who waited for the next entry")
    number = one(asked, "send")
    equal((o(-2), '#["increment",[]]'), (number[1], number[3]))
    asked = k.notify((number[2], 0, "#1", ()))
    answer, (entry, greeting) = k.settled(asked, signed)
    equal('#{"entry":"$0.Alleged: Entry","greeting":"&1","number":1}', answer)
    equal(("send", o(-3), greeting, '#["greet",["Ann"]]', []), one(asked, "send"))
    k.start()
    equal(('#["Ann: hello"]', []), k.call("read"))
    k.call("withdraw", target=entry)
    equal(("#[]", []), k.call("read"))
    asked = k.message("close")
    assert one(asked, "exit")
    k.stop()


def test_smallest():
    """Section 17 of the page, as it stands there."""
    text = re.search(r"## 17 The smallest vat.*?```python\n(.*?)```", open("docs/PROTOCOL.md", encoding="utf-8").read(), re.S)[1]
    with tempfile.NamedTemporaryFile("w", suffix=".py") as program:
        program.write(text)
        program.flush()
        k = Kernel(program.name)
        equal(("#1", []), k.call("increment"))
        equal(("#2", []), k.call("increment"))
        assert "nonsense" in k.call("nonsense", '"$0"', (o(-1),))
        for raw in (b"", b"#\xff", b"#1", b'#["increment"]', b'#{"a":1}', b"#" + b"[" * 100000):
            assert isinstance(k.call("", raw=raw), str), raw
        equal([], k.message("increment", result=None))
        assert "no" in k.call("much", '"%s"' % ("x" * 200000))
        k.ping_before_answers = True
        k.start()
        equal(("#4", []), k.call("increment"))
        assert k.pings == 1
        equal([], k.deliver(0x16))
        k.frame(0x22, 0, b"")
        equal(0, k.process.wait(SECONDS))
        k.sock.close()


def main():
    tests = [(n, f) for n, f in globals().items() if n.startswith("test_") and (len(sys.argv) < 2 or n in sys.argv[1:])]
    print("1..%d" % len(tests))
    failed = 0
    for i, (name, function) in enumerate(tests):
        try:
            function()
            print("ok %d - %s" % (i + 1, name), flush=True)
        except Exception:
            failed = 1
            print("not ok %d - %s" % (i + 1, name))
            print("".join("# %s\n" % line for line in traceback.format_exc().splitlines()), end="", flush=True)
    # What a failed test left running goes with its channel, which is closed here.
    sys.exit(failed)


main()
