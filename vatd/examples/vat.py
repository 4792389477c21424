# SPDX-License-Identifier: Apache-2.0
"""
A vat in Python 3, standard library only, written from docs/PROTOCOL.md. Copy it, and put it among the `files` of your vat:

    import sys; sys.path.insert(0, "/vat")
    import vat

    class Counter(vat.Durable):
        def __init__(self, parameters):
            self.n = 0
        def increment(self, by=1):
            self.n += by
            return self.n

    vat.run(Counter)

What the author has:

- `Object`: something that others can call. Its methods are their methods; names that begin with `_` are its own. It lasts
  as long as the process.
- `Durable`: an Object that outlives the process. Its attributes (but for those that begin with `_`) are kept: data,
  objects of others, other Durables. `__init__` runs once in its life, not at a restart.
- `E(x).method(a, b)` sends to an object or a promise, also to one that is not settled, and gives a `Promise` for the
  answer; `tell(x, "method", a, b)` wants none. `x` may be an object of one's own: that is sent, too, and comes later.
- `await promise` in a method that is `async` (`await settled(x)`, if x may be a promise), or
  `promise.then(kept, broken)`. What waits so is lost at a restart, and the kernel tells the caller (VAT_RESTARTED).
- `Promise()` with `resolve` and `reject`. A method may return a promise: its caller gets what that becomes.
- `baggage`, a dictionary that outlives the process; `log`, `exit`, `sleep`, `identity`.

None is null, `undefined` is undefined; a method that returns nothing answers undefined. A whole number beyond 2^53 is a
bigint to the others; `BigInt` makes one of a small number.

Garbage: an import is held by Python's references to its `Remote` and by what is kept durably; when neither is left, the
next bringOutYourDead lets go of it. Likewise one's own objects. Durables that refer to each other in a circle, from
which nothing else leads away, stay for ever.
"""
import collections.abc, gc, heapq, inspect, itertools, json, os, re, select, struct, time, traceback, weakref
from collections import deque

CHANNEL = 3
PACKET = 65536
FRAME_MAX, BODY_MAX, CRANK_BYTES = 35651584, 16777216, 67108864
SLOTS_MAX, CRANK_SLOTS, TEXT_MAX = 10000, 50000, 8192

# Frames from the kernel, and to it.
INIT, START_VAT, MESSAGE, NOTIFY, DROP_EXPORTS, RETIRE_EXPORTS, RETIRE_IMPORTS, BRING_OUT_YOUR_DEAD, WAKE = (
    0x01, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17)
STORE_VALUE, PING, SHUTDOWN, PART = 0x20, 0x21, 0x22, 0x3f
SEND, SUBSCRIBE, RESOLVE, EXIT, DROP_IMPORTS, DO_RETIRE_IMPORTS, DO_RETIRE_EXPORTS, ABANDON_EXPORTS = range(0x41, 0x49)
STORE_SET, STORE_DELETE, STORE_GET, STORE_NEXT, CLIST_NEXT, DONE = range(0x49, 0x4f)
HELLO, LOG, PONG, WAKE_ME = range(0x50, 0x54)
FOUND, REACHABLE = 4, 8                         # flags of storeValue
FAILURE, ERROR = 1, 2                           # of exit; of done
REJECTED, REF, KERNEL = 1, 2, 4                 # of a resolution

# Work that can be put off is, beyond so much of it in one crank: the kernel limits what one crank may do.
READS_A_CRANK, DEAD_A_CRANK, SUBSCRIPTIONS_A_CRANK = 5000, 5000, 10000


# --- references (section 4) -----------------------------------------------------------------------------------------------

ROOT = 0
IS_PROMISE, BY_KERNEL, FORM = 1 << 63, 1 << 62, 3 << 60
DURABLE = 2 << 60
NO_REF = (1 << 64) - 1


def durable_ref(kind, instance):
    return DURABLE | kind << 44 | instance << 8


def ref_text(ref):
    """As people see references; here also what the vatstore has."""
    sign = "p" if ref & IS_PROMISE else "o"
    sign += "-" if ref & BY_KERNEL else "+"
    if not ref & FORM:
        return sign + str(ref & ((1 << 60) - 1))
    text = "%s%s%d.%d" % (sign, "d" if ref & DURABLE else "v", ref >> 44 & 0xffff, ref >> 8 & (1 << 36) - 1)
    return text + ":%d" % ((ref & 0xff) - 1) if ref & 0xff else text


def ref_parse(text):
    m = re.fullmatch(r"o\+d(\d+)\.(\d+)", text)
    if m:
        return durable_ref(int(m[1]), int(m[2]))
    if text == "o+0":
        return ROOT
    return BY_KERNEL | int(re.fullmatch(r"o-(\d+)", text)[1])


# --- frames (sections 3, 5) -----------------------------------------------------------------------------------------------

def frame(kind, delivery, body=b"", flags=0):
    return struct.pack("<IHHQ", 16 + len(body), kind, flags, delivery) + body


def field(data):
    return struct.pack("<II", len(data), 0) + data + bytes(-len(data) % 8)


def capdata(body, slots):
    return struct.pack("<II%dQ" % len(slots), len(body), len(slots), *slots) + body + bytes(-len(body) % 8)


def refs(values):
    return struct.pack("<II%dQ" % len(values), len(values), 0, *values)


def resolution(ref, flags, body, slots):
    return struct.pack("<QII", ref, flags, 0) + capdata(body, slots)


def read_capdata(data, at):
    """The body, the slots, and where the next field begins."""
    length, count = struct.unpack_from("<II", data, at)
    slots = struct.unpack_from("<%dQ" % count, data, at + 8)
    at += 8 + 8 * count
    return data[at:at + length], slots, at + length + -length % 8


def read_refs(data):
    return struct.unpack_from("<%dQ" % struct.unpack_from("<I", data)[0], data, 8)


class Channel:
    """Whole frames in both directions. Frames about the process itself are answered here, whenever they come."""

    def __init__(self, fd=CHANNEL):
        self.fd, self.packet, self.joined = fd, b"", bytearray()
        self.poll = select.poll()
        self.poll.register(fd, select.POLLIN)

    def send(self, frames):
        """As few packets as will do; a frame that fits none goes in parts."""
        packet = bytearray()
        for f in frames:
            if len(packet) + len(f) > PACKET and packet:
                os.write(self.fd, packet)
                packet.clear()
            if len(f) <= PACKET:
                packet += f
                continue
            for at in range(0, len(f), PACKET - 24):
                piece = f[at:at + PACKET - 24]
                os.write(self.fd, frame(PART, 0, struct.pack("<II", len(f), at) + piece))
        if packet:
            os.write(self.fd, packet)

    def receive(self, until=None):
        """The next frame (kind, flags, delivery, body); None when the clock reads `until` before it is here."""
        while True:
            while not self.packet:
                left = None if until is None else max(0, until - time.monotonic())
                if left is not None and not self.poll.poll(left * 1000):
                    return None
                self.packet = os.read(self.fd, PACKET)
                if not self.packet:
                    os._exit(1)                 # the kernel is gone
            size, kind, flags, delivery = struct.unpack_from("<IHHQ", self.packet)
            body, self.packet = self.packet[16:size], self.packet[size:]
            if kind == PART:
                self.joined += body[8:]
                if len(self.joined) == struct.unpack_from("<I", body)[0]:
                    self.packet, self.joined = bytes(self.joined), bytearray()
            elif kind == PING:
                os.write(self.fd, frame(PONG, 0, body))
            elif kind == SHUTDOWN:
                os._exit(0)
            else:
                return kind, flags, delivery, body


# --- values (section 14) --------------------------------------------------------------------------------------------------

class Undefined:
    def __repr__(self):
        return "undefined"

    def __bool__(self):
        return False


undefined = Undefined()


class BigInt(int):
    """A whole number that is a bigint to the others, however small."""


class Symbol(str):
    """A symbol; also the name of a method can be one."""


class Tagged(collections.namedtuple("Tagged", "tag payload")):
    pass


class Error(Exception):
    """An error as vats tell each other. `code` is the kernel's (section 15), None for an error of anybody else's."""

    def __init__(self, message, name="Error", code=None):
        super().__init__(message)
        self.message, self.name, self.code = message, name, code


class Rejection(Error):
    """A promise was rejected with something that is no error: `reason`."""

    def __init__(self, reason):
        super().__init__("rejected with %r" % (reason,))
        self.reason = reason


SAFE = (1 << 53) - 1
CONSTANTS = {"#undefined": undefined, "#NaN": float("nan"), "#Infinity": float("inf"), "#-Infinity": float("-inf")}
ERROR_NAMES = ((TypeError, "TypeError"), (IndexError, "RangeError"), (OverflowError, "RangeError"))


def quote(text):
    """A string in JSON, as JavaScript writes it."""
    quoted = json.dumps(text, ensure_ascii=False)
    return re.sub("[\ud800-\udfff]", lambda m: "\\u%04x" % ord(m[0]), quoted)


def escape(text):
    return "!" + text if "!" <= text[:1] <= "-" else text


def number(f):
    """A finite double as JavaScript writes it: the shortest digits, an exponent only when it is large."""
    text = repr(f)
    if "e" in text:
        digits, exponent = text.split("e")
        if not -7 < int(exponent) < 21:
            return "%se%+d" % (digits, int(exponent))
        from decimal import Decimal
        text = format(Decimal(text), "f")
    return "0" if f == 0 else text[:-2] if text.endswith(".0") else text


def error_of(e):
    """Name and message of any exception."""
    if isinstance(e, Error):
        return e.name, e.message
    name = next((n for kind, n in ERROR_NAMES if isinstance(e, kind)), "Error")
    return name, str(e) if name != "Error" or type(e) is Exception else "%s: %s" % (type(e).__name__, e)


def property_order(item):
    """JavaScript's: array indices by number, then the others by their UTF-16 units."""
    key = item[0]
    if re.fullmatch("0|[1-9][0-9]{0,9}", key, re.ASCII) and int(key) < (1 << 32) - 1:
        return 0, int(key), b""
    return 1, 0, key.encode("utf-16-be", "surrogatepass")


def to_json(value, slot):
    """The JSON text of a passable value; slot(object or promise) gives the text for a reference."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value)) if abs(value) <= SAFE and not isinstance(value, BigInt) else '"%+d"' % value
    if isinstance(value, float):
        if value - value == 0:
            return number(value)
        return '"#NaN"' if value != value else '"#Infinity"' if value > 0 else '"#-Infinity"'
    if isinstance(value, Symbol):
        return quote("%" + value)
    if isinstance(value, str):
        return quote(escape(value))
    if isinstance(value, (Object, Remote, Promise)):
        return quote(slot(value))
    if isinstance(value, Undefined):
        return '"#undefined"'
    if isinstance(value, Exception):
        name, message = error_of(value)
        return '{"#error":%s,"name":%s}' % (quote(escape(message)), quote(escape(name)))
    if isinstance(value, Tagged):
        return '{"#tag":%s,"payload":%s}' % (quote(escape(value.tag)), to_json(value.payload, slot))
    if isinstance(value, (list, tuple)):
        return "[" + ",".join([to_json(v, slot) for v in value]) + "]"
    if isinstance(value, dict) and all(isinstance(k, str) for k in value):
        items = sorted(value.items(), key=property_order)
        return "{" + ",".join([quote(escape(k)) + ":" + to_json(v, slot) for k, v in items]) + "}"
    raise TypeError("a %s cannot be passed" % type(value).__name__)


def interface(x):
    """What the first mention of an object says about it."""
    name = x._interface if isinstance(x, Remote) else "Alleged: " + type(x).__name__
    return "." + name if name else ""


def encode(value, slot):
    try:
        body = ("#" + to_json(value, slot)).encode()
    except RecursionError:
        raise TypeError("what contains itself, or is nested too deeply, cannot be passed") from None
    if len(body) > BODY_MAX:
        raise OverflowError("a value of %d bytes cannot be passed: at most %d" % (len(body), BODY_MAX))
    return body


def whole(text):
    """A whole number in JSON: what JavaScript makes of it."""
    n = int(text)
    return n if abs(n) <= SAFE else float(text)


def refuse_constant(text):
    raise ValueError(text)


def from_json(tree, slot):
    """The value of a JSON tree; slot(sign, number, interface) gives the object or promise of a reference."""
    if isinstance(tree, str):
        if not "!" <= tree[:1] <= "-":
            return tree
        sign, rest = tree[0], tree[1:]
        if sign == "!":
            return rest
        if tree in CONSTANTS:
            return CONSTANTS[tree]
        if sign in "+-" and re.fullmatch("[0-9]+", rest, re.ASCII):
            return BigInt(tree)
        if sign == "%":
            return Symbol(rest)
        m = re.fullmatch(r"([$&])([0-9]{1,5})(?:\.(.*))?", tree, re.ASCII | re.DOTALL)
        if m and not (sign == "&" and m[3]):
            return slot(sign, int(m[2]), m[3])
        raise ValueError("the string %.40r means nothing" % tree)
    if isinstance(tree, list):
        return [from_json(t, slot) for t in tree]
    if not isinstance(tree, dict):
        return tree
    if "#error" in tree:
        parts = [from_json(tree.get(k, d), slot) for k, d in (("#error", ""), ("name", "Error"))]
        if not all(isinstance(p, str) for p in parts):
            raise ValueError("an error whose message or name is no string")
        return Error(*parts)
    if "#tag" in tree and tree.keys() == {"#tag", "payload"} and isinstance(tree["#tag"], str):
        return Tagged(from_json(tree["#tag"], slot), from_json(tree["payload"], slot))
    record = {}
    for key, t in tree.items():
        if "!" <= key[:1] <= "-" and key[0] != "!":
            raise ValueError("the property name %.40r means nothing" % key)
        record[key[1:] if key[:1] == "!" else key] = from_json(t, slot)
    return record


def decode(body, slot):
    """Any bytes: a value, or an Error that says that they are none."""
    try:
        if body[:1] != b"#":
            raise ValueError("it does not begin with #")
        tree = json.loads(body[1:].decode(), parse_int=whole, parse_constant=refuse_constant)
        return from_json(tree, slot)
    except RecursionError:
        raise Error("the body is nested too deeply", "TypeError") from None
    except (ValueError, OverflowError) as e:
        raise Error("the body is not smallcaps: %s" % e, "TypeError") from None


# --- what a vat holds -----------------------------------------------------------------------------------------------------

class Object:
    """Something that others can call: its methods are the functions of its class whose names do not begin with _."""
    _ref = None


class Durable(Object):
    """An Object that outlives the process, with its attributes."""

    def __new__(cls, *args, **kwargs):
        self = super().__new__(cls)
        the_vat().durables.adopt(self)
        return self

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        kinds[cls.__name__] = cls

    def __getattr__(self, name):
        # Only for what is not there: if the state is not, it is read now.
        if not name.startswith("_") and self.__dict__.get("_loaded") is False:
            the_vat().durables.load(self)
            if name in self.__dict__:
                return self.__dict__[name]
        raise AttributeError("%s has no attribute %s" % (type(self).__name__, name))

    def __setattr__(self, name, value):
        if not name.startswith("_") and self.__dict__.get("_loaded") is False:
            the_vat().durables.load(self)
        super().__setattr__(name, value)


kinds = {}                                      # the classes of Durables by their names


class Remote:
    """An object of somebody else's."""

    def __init__(self, ref, interface=None):
        self._ref, self._interface = ref, interface

    def __repr__(self):
        return "<%s %s>" % (self._interface or "Remote", ref_text(self._ref) if self._ref else "gone")


class Promise:
    """
    A value to come. One's own is settled by `resolve` or `reject`; one that somebody else decides can only be waited for,
    passed on, and sent to.
    """

    def __init__(self):
        self._ref = None                        # while it is in the clist
        self._ours = True                       # whether this vat decides it
        self._state = None                      # None, "kept", "broken", "follows"
        self._value = None                      # the value, the exception, the promise that it follows
        self._waiting = []

    def _end(self):
        """The promise that this one follows in the end."""
        p = self
        while p._state == "follows":
            p = p._value
        return p

    def resolve(self, value=None):
        """Fulfil it, or let it become what another promise becomes."""
        self._settle("kept", value)

    def reject(self, reason):
        self._settle("broken", reason if isinstance(reason, Exception) else Rejection(reason))

    def _settle(self, state, value):
        if self._state is not None:
            raise RuntimeError("this promise is settled already")
        if not self._ours:
            raise RuntimeError("somebody else decides this promise")
        state, value = self._followed(state, value)
        if self._ref is not None:
            state, value = the_vat().settle(self, state, value)
        self._become(state, value)

    def _followed(self, state, value):
        """Kept with a promise is to follow that."""
        if state != "kept" or not isinstance(value, Promise):
            return state, value
        value = value._end()
        if value is self:
            return "broken", TypeError("a promise cannot become itself")
        return (value._state, value._value) if value._state else ("follows", value)

    def _become(self, state, value):
        waiting, self._waiting = self._waiting, []
        self._state, self._value = state, value
        if state == "follows":
            value._waiting += waiting
        else:
            the_vat().ready.extend((w, self) for w in waiting)

    def _when(self, callback):
        """callback(promise) in a turn of its own, once it is settled."""
        p = self._end()
        if p._state is None:
            p._waiting.append(callback)
        else:
            the_vat().ready.append((callback, p))

    def then(self, kept=None, broken=None):
        """A promise for what kept(value), or broken(exception), will return."""
        after = Promise()

        def settled(p):
            handler = kept if p._state == "kept" else broken
            if handler:
                run_into(after, handler, p._value)
            elif p._state == "kept":
                after.resolve(p._value)
            else:
                after.reject(p._value)
        self._when(settled)
        return after

    def __await__(self):
        p = self._end()
        if p._state is None:
            p = yield p
        if p._state == "broken":
            raise p._value
        return p._value


def run_into(promise, function, *args):
    """Call it; settle the promise with what comes of it, now or, of a coroutine, in the end."""
    try:
        value = function(*args)
        if inspect.iscoroutine(value):
            step(promise, value, None)
            return
    except Exception as e:
        note_exception(e)
        promise.reject(e)
        return
    promise.resolve(undefined if value is None else value)


def step(promise, coroutine, settled):
    """Run a coroutine to its next await, or its end."""
    try:
        awaited = coroutine.send(settled)
        if not isinstance(awaited, Promise):
            raise TypeError("a method can await promises only")
    except StopIteration as end:
        promise.resolve(undefined if end.value is None else end.value)
    except Exception as e:
        coroutine.close()
        note_exception(e)
        promise.reject(e)
    else:
        awaited._when(lambda p: step(promise, coroutine, p))


def note_exception(e):
    if not isinstance(e, Error):
        log("".join(traceback.format_exception(type(e), e, e.__traceback__)), "debug")
    e.__traceback__ = None                      # it would hold all variables of the method


class E:
    """E(x).method(…): send, and have a promise for the answer."""
    __slots__ = ("_target",)

    def __init__(self, target):
        self._target = target

    def __getattr__(self, method):
        return lambda *args: send(self._target, method, *args)


# --- the vatstore ---------------------------------------------------------------------------------------------------------

class Store:
    """
    Keys and values of the vatstore. A value is a body and its slots as text: "o-3 o+d1.2\\n#[...]". For each reference that
    is in a value there is a row "r.<ref>" with a count, and for a Durable how others know it: "2 reachable".
    """

    def __init__(self, vat):
        self.vat, self.counts, self.changed = vat, {}, set()

    def get(self, key):
        flags, _, _, value = self.vat.read(STORE_GET, field(key.encode()))
        return value if flags & FOUND else None

    def set(self, key, value):
        self.vat.syscall(STORE_SET, field(key.encode()) + field(value))

    def delete(self, key):
        self.vat.syscall(STORE_DELETE, field(key.encode()))

    def next(self, key):
        flags, _, key, _ = self.vat.read(STORE_NEXT, field(key.encode()))
        return key.decode() if flags & FOUND else None

    def keys(self, prefix):
        key = self.next(prefix)
        while key is not None and key.startswith(prefix):
            yield key
            key = self.next(key)

    def pack(self, value, what):
        """A value as it is kept, and its references."""
        slots = []

        def slot(x):
            x = x._end() if isinstance(x, Promise) else x
            if isinstance(x, Promise) and x._state == "kept" and isinstance(x._value, (Remote, Durable)):
                x = x._value
            if not isinstance(x, (Remote, Durable)) and x is not self.vat.root:
                raise TypeError("a %s does not outlive the process" % type(x).__name__)
            if x._ref is None:
                raise TypeError("the object is gone")
            if x._ref in slots:
                return "$%d" % slots.index(x._ref)
            slots.append(x._ref)
            return "$%d%s" % (len(slots) - 1, interface(x))
        try:
            body = encode(value, slot)
        except TypeError as e:
            raise TypeError("%s: %s" % (what, e)) from None
        text = " ".join(map(ref_text, slots)).encode() + b"\n" + body
        if len(text) > BODY_MAX:
            raise OverflowError("%s: %d bytes are too many" % (what, len(text)))
        return text, slots

    @staticmethod
    def slots_of(text):
        return [ref_parse(t) for t in text.split(b"\n", 1)[0].decode().split()] if text else []

    def unpack(self, text):
        held = [self.vat.object(r) for r in self.slots_of(text)]
        return decode(text.split(b"\n", 1)[1], lambda sign, n, interface: self.vat.slot_value(held, sign, n, interface))

    def put(self, key, value, what):
        """Keep a value, and count what is in it and what was. Nothing is written if nothing changed."""
        text, slots = self.pack(value, what)
        old = self.get(key)
        if text != old:
            self.set(key, text)
            self.recount(slots, self.slots_of(old))

    def remove(self, key):
        old = self.get(key)
        if old is not None:
            self.delete(key)
            self.recount([], self.slots_of(old))

    def recount(self, more, less):
        for ref, by in [(r, 1) for r in more] + [(r, -1) for r in less]:
            self.row(ref)[0] += by
            self.changed.add(ref)
            if self.row(ref)[0] == 0:
                if ref & BY_KERNEL:
                    self.vat.imports.setdefault(ref, nobody)
                self.vat.may_be_dead(ref)

    def row(self, ref):
        """[how often it is kept, how others know it]. Who changes it adds it to `changed`."""
        if ref not in self.counts:
            count, known = (self.get("r." + ref_text(ref)) or b"0 -").decode().split()
            self.counts[ref] = [int(count), known]
        return self.counts[ref]

    def save(self):
        for ref in self.changed:
            count, known = self.counts[ref]
            key = "r." + ref_text(ref)
            if count or ref & FORM and ref not in self.vat.durables.buried:
                self.set(key, b"%d %s" % (count, known.encode()))
            else:
                self.delete(key)
        self.counts, self.changed = {}, set()


class Baggage(collections.abc.MutableMapping):
    """Names and values that outlive the process. What is read is a copy: to change it, assign it again."""

    def __getitem__(self, key):
        text = the_vat().store.get("b." + key)
        if text is None:
            raise KeyError(key)
        return the_vat().store.unpack(text)

    def __setitem__(self, key, value):
        the_vat().store.put("b." + key, value, "baggage[%r]" % key)

    def __delitem__(self, key):
        if key not in self:
            raise KeyError(key)
        the_vat().store.remove("b." + key)

    def __contains__(self, key):
        return the_vat().store.get("b." + key) is not None

    def __iter__(self):
        return (key[2:] for key in the_vat().store.keys("b."))

    def __len__(self):
        return sum(1 for _ in self)


class Durables:
    """
    The Durables that are in memory, and the way there and back. "s.<ref>" is the state of one, "k.<class>" the number of
    its kind, "n.<kind>" the next instance. The root, if it is one, stands at o+0.
    """

    def __init__(self, vat):
        self.vat, self.store = vat, vat.store
        self.live = weakref.WeakValueDictionary()
        self.buried = set()                     # by this crank: their rows go
        self.kept = []                          # keeps what was touched until it is saved
        self.making_root = False

    def kind(self, name):
        key = "k." + name
        number = self.store.get(key)
        if number is None:
            taken = [int(self.store.get(k)) for k in self.store.keys("k.")]
            number = b"%d" % (max(taken, default=0) + 1)
            self.store.set(key, number)
        return int(number)

    def adopt(self, obj):
        """Give a new one its place in the store."""
        if self.vat.delivery is None:
            raise RuntimeError("Durables can be made in a delivery only, not before vat.run")
        if self.making_root:
            self.making_root, ref = False, ROOT
        else:
            kind = self.kind(type(obj).__name__)
            key = "n.%d" % kind
            instance = int(self.store.get(key) or 1)
            self.store.set(key, b"%d" % (instance + 1))
            ref = durable_ref(kind, instance)
            self.store.row(ref)
            self.store.changed.add(ref)
        self.install(obj, ref, True)

    def install(self, obj, ref, loaded):
        obj.__dict__.update(_ref=ref, _loaded=loaded, _saved=b"")
        self.live[ref] = obj
        self.kept.append(obj)
        if ref != ROOT:
            weakref.finalize(obj, self.vat.may_be_dead, ref).atexit = False

    def get(self, ref, cls=None):
        """The Durable of a reference, which is read from the store when somebody touches it."""
        obj = self.live.get(ref)
        if obj is None:
            if cls is None:
                number = b"%d" % (ref >> 44 & 0xffff)
                name = next((k[2:] for k in self.store.keys("k.") if self.store.get(k) == number), None)
                cls = kinds.get(name)
                if cls is None:
                    raise Error("%s: its class, %s, does not exist any more" % (ref_text(ref), name))
            obj = Object.__new__(cls)
            self.install(obj, ref, False)
        return obj

    def load(self, obj):
        text = self.store.get("s." + ref_text(obj._ref))
        if text is None:
            raise Error("%s %s has no state" % (type(obj).__name__, ref_text(obj._ref)))
        obj.__dict__.update(self.store.unpack(text), _loaded=True, _saved=text)
        self.kept.append(obj)

    def begin(self):
        """Whatever is in memory may be changed by this crank, and die in it before it is saved."""
        self.kept, self.buried = list(self.live.values()), set()

    def save(self):
        for obj in self.kept:
            if obj._loaded:
                state = {k: v for k, v in obj.__dict__.items() if not k.startswith("_")}
                try:
                    text, slots = self.store.pack(state, type(obj).__name__)
                except TypeError:
                    for name in state:          # which one?
                        self.store.pack(state[name], "%s.%s" % (type(obj).__name__, name))
                    raise
                if text != obj._saved:
                    self.store.set("s." + ref_text(obj._ref), text)
                    self.store.recount(slots, self.store.slots_of(obj._saved))
                    obj.__dict__["_saved"] = text
        self.kept = []

    def bury(self, ref):
        """Nothing leads to it any more, if that is so. Returns whether others have to be told."""
        count, known = self.store.row(ref)
        if ref in self.live or count or known == "reachable":
            return False
        self.store.remove("s." + ref_text(ref))
        self.store.row(ref)[1] = "-"
        self.store.changed.add(ref)
        self.buried.add(ref)
        return known == "recognizable"


# --- the vat --------------------------------------------------------------------------------------------------------------

class Export:
    """What is known of an object of our own in the clist: held while others can reach it, then only watched."""
    __slots__ = ("held", "watched")

    def __init__(self, obj):
        self.held, self.watched = obj, weakref.ref(obj)


def nobody():
    """In place of the weak reference to a Remote: the clist has it, this process does not."""


class Vat:
    def __init__(self, root_class):
        self.root_class, self.root = root_class, None
        self.channel = Channel()
        self.delivery, self.frames = None, []
        self.bytes = self.coming = self.n_slots = 0     # of this crank; `coming`: encoded, not yet in a frame
        self.imports = {}                       # ref: weak reference to its Remote; never more than the clist has
        self.exports = {}                       # ref: Export; plain objects
        self.promises = {}                      # ref: Promise; all of the clist that this process knows
        self.unasked = deque()                  # promises to subscribe to at the end of a crank
        self.dead = set()                       # references that nothing may lead to any more
        self.fresh = []                         # settled promises that have been mentioned, to be settled in the clist
        self.ready = deque()                    # (callback, promise): turns still to run in this crank
        self.timers, self.timer_order = [], itertools.count()
        self.woken = self.collecting = False    # a wake is on its way; there is more to collect in it
        self.clist_at = self.rows_at = None     # how far the walk over what earlier incarnations had has come
        self.store = Store(self)
        self.durables = Durables(self)
        self.handlers = {START_VAT: self.start, MESSAGE: self.message, NOTIFY: self.notify, WAKE: self.wake,
                         DROP_EXPORTS: self.drop_exports, RETIRE_EXPORTS: self.retire_exports,
                         RETIRE_IMPORTS: self.retire_imports, BRING_OUT_YOUR_DEAD: self.collect}

    def run(self):
        self.channel.send([frame(HELLO, 0, struct.pack("<II", 1, 1))])
        while True:
            arrived = self.channel.receive(self.timers[0][0] if self.timers and not self.woken else None)
            if arrived is None:
                self.wake_me()
                continue
            kind, _, delivery, data = arrived
            if kind == INIT:
                self.id, self.incarnation, self.next_export, self.next_promise = struct.unpack_from("<4Q", data)
                self.next_export, self.next_promise = max(1, self.next_export), max(1, self.next_promise)
            else:
                self.crank(kind, delivery, data)

    def crank(self, kind, delivery, data):
        """One delivery. Whatever goes wrong here, outside the author's methods, is answered by starting anew."""
        self.delivery, self.bytes, self.coming, self.n_slots = delivery, 0, 0, 0
        try:
            self.durables.begin()
            self.handlers[kind](data)
            while self.ready:
                callback, promise = self.ready.popleft()
                callback(promise)
            self.durables.save()
            self.store.save()
            self.ask()
        except Exception as e:
            log("".join(traceback.format_exception(type(e), e, e.__traceback__)), "error")
            text = ("%s: %s" % (type(e).__name__, e)).encode("utf-8", "replace")[:TEXT_MAX]
            self.channel.send([frame(DONE, delivery, field(text.decode("utf-8", "ignore").encode()), ERROR)])
            os._exit(1)
        self.syscall(DONE, field(b""))
        self.flush()
        self.delivery = None

    # Syscalls.

    def syscall(self, kind, body, flags=0):
        if self.delivery is None:
            raise RuntimeError("a vat can act in a delivery only")
        self.frames.append(frame(kind, self.delivery, body, flags))
        self.bytes, self.coming = self.bytes + len(self.frames[-1]), 0
        if self.bytes > CRANK_BYTES - (1 << 18) and kind == STORE_SET:
            raise OverflowError("one delivery may not keep so much")

    def flush(self):
        self.channel.send(self.frames)
        self.frames = []

    def read(self, kind, body):
        """A read of vatstore or clist: the flags of the answer, and its fields."""
        self.syscall(kind, body)
        self.flush()
        _, flags, _, body = self.channel.receive()
        ref, length = struct.unpack_from("<QI", body)
        key = body[16:16 + length]
        at = 16 + length + -length % 8
        (length,) = struct.unpack_from("<I", body, at)
        return flags, ref, key, body[at + 8:at + 8 + length]

    def wake_me(self):
        if not self.woken:
            self.woken = True
            self.channel.send([frame(WAKE_ME, 0)])

    # References out.

    def ref_of(self, x):
        if isinstance(x, Promise):
            if x._ref is None:
                x._ref = IS_PROMISE | self.next_promise
                self.next_promise += 1
                self.promises[x._ref] = x
                if x._state is not None:
                    self.fresh.append(x)
        elif isinstance(x, Remote):
            if x._ref is None:
                raise Error("the object is gone")
        elif x._ref is None:
            x._ref = self.next_export
            self.next_export += 1
            weakref.finalize(x, self.may_be_dead, x._ref).atexit = False
        return x._ref

    def mentioned(self, x):
        """A reference to it is on its way: if it is an object of ours, others can reach it now."""
        if not isinstance(x, Object) or x._ref == ROOT:
            return
        if x._ref & FORM:
            self.store.row(x._ref)[1] = "reachable"
            self.store.changed.add(x._ref)
        else:
            self.exports.setdefault(x._ref, Export(x)).held = x

    def marshal(self, value):
        """Body and slots. What is in it counts as mentioned from here on; if it cannot be passed, nothing of it does."""
        slots, objects, new, mark = {}, [], [], len(self.fresh)

        def slot(x):
            if isinstance(x, Promise):
                x = x._end()
                if x._ref is None:
                    new.append(x)
            sign = "&" if isinstance(x, Promise) else "$"
            ref = self.ref_of(x)
            if ref in slots:
                return "%s%d" % (sign, slots[ref])
            slots[ref] = len(slots)
            objects.append(x)
            return "%s%d%s" % (sign, slots[ref], interface(x) if sign == "$" else "")

        try:
            body = encode(value, slot)
            if len(slots) > SLOTS_MAX or len(self.fresh) > SLOTS_MAX:
                raise OverflowError("more than %d references in one value" % SLOTS_MAX)
            if self.n_slots + len(slots) > CRANK_SLOTS - 2 * DEAD_A_CRANK - 1000:
                raise OverflowError("one delivery may not pass so many references")
            if self.bytes + self.coming + len(body) > CRANK_BYTES - (1 << 20):
                raise OverflowError("one delivery may not pass so much")
        except Exception:
            for p in new:
                self.promises.pop(p._ref, None)
                p._ref = None
            del self.fresh[mark:]
            raise
        for x in objects:
            self.mentioned(x)
        self.n_slots += len(slots)
        self.coming += len(body)
        return body, list(slots)

    def send(self, target, method, args, answer):
        """`answer` is the promise for it, or None."""
        if isinstance(target, Promise):
            target = target._end()
            if target._state == "broken":
                return answer and answer.reject(target._value)
            if target._state == "kept":
                target = target._value
        if not isinstance(target, (Object, Remote, Promise)) or isinstance(target, Remote) and target._ref is None:
            what = "an object that is gone" if isinstance(target, Remote) else "a " + type(target).__name__
            return answer and answer.reject(TypeError("cannot send %s to %s" % (method, what)))
        body, slots = self.marshal([method, list(args)])
        ref = self.ref_of(target)
        self.syscall(SEND, struct.pack("<QQ", ref, self.ref_of(answer) if answer else 0) + capdata(body, slots))
        self.mentioned(target)
        if answer:
            answer._ours = False
            self.unasked.append(answer)
        self.settle_fresh()

    def settle(self, promise, state, value):
        """Settle a promise that is in the clist. Returns what it has become: a value may turn out not to be passable."""
        promise._state, promise._value = state, value
        self.fresh.append(promise)
        self.settle_fresh()
        return promise._state, promise._value

    def settle_fresh(self):
        """One batch: promises that occur in it must be settled by it, too, for afterwards their numbers are gone."""
        batch = []
        for p in self.fresh:                    # it may grow meanwhile
            batch.append(self.resolution_of(p))
        if batch:
            self.n_slots += len(batch)
            self.syscall(RESOLVE, struct.pack("<II", len(batch), 0) + b"".join(batch))
        for p in self.fresh:
            del self.promises[p._ref]
            p._ref = None
        self.fresh = []

    def resolution_of(self, p):
        try:
            body, slots = self.marshal(p._value.reason if isinstance(p._value, Rejection) else p._value)
        except Exception as e:
            p._state, p._value = "broken", TypeError("the answer cannot be passed: %s" % error_of(e)[1])
            body, slots = self.marshal(p._value)
        single = p._state != "broken" and isinstance(p._value, (Object, Remote, Promise))
        return resolution(p._ref, REJECTED if p._state == "broken" else REF if single else 0, body, slots)

    def ask(self):
        """Subscribe to every promise that others decide: only its notify ever takes it out of the clist."""
        for _ in range(min(len(self.unasked), SUBSCRIPTIONS_A_CRANK)):
            p = self.unasked.popleft()
            if p._ref is not None and not p._ours:
                self.syscall(SUBSCRIBE, struct.pack("<Q", p._ref))
        if self.unasked:
            self.wake_me()

    # References in.

    def object(self, ref):
        """What a reference stands for that came in, or was kept."""
        if ref & IS_PROMISE:
            if ref not in self.promises:
                p = self.promises[ref] = Promise()
                p._ref, p._ours = ref, False
                self.unasked.append(p)
            return self.promises[ref]
        if ref & BY_KERNEL:
            remote = self.imports.get(ref, nobody)()
            if remote is None:
                remote = Remote(ref)
                self.imports[ref] = weakref.ref(remote)
                weakref.finalize(remote, self.may_be_dead, ref).atexit = False
            return remote
        if ref == ROOT:
            return self.root
        if ref & FORM:
            return self.durables.get(ref)
        if ref not in self.exports:
            raise Error("there is no object %s here" % ref_text(ref))
        return self.exports[ref].watched()

    def arrive(self, slots):
        """All slots of what came in; an Error for an object that cannot be made again. Who lets go of these lets go of all."""
        held = []
        for ref in slots:
            try:
                held.append(self.object(ref))
            except Error as e:
                held.append(e)
        return held

    @staticmethod
    def slot_value(held, sign, n, name):
        if n >= len(held):
            raise ValueError("there is no slot %d" % n)
        if isinstance(held[n], Error):
            raise held[n]
        if isinstance(held[n], Promise) != (sign == "&"):
            raise ValueError("slot %d is no %s" % (n, "promise" if sign == "&" else "object"))
        if name and isinstance(held[n], Remote) and not held[n]._interface:
            held[n]._interface = name
        return held[n]

    def unmarshal(self, body, held):
        return decode(body, lambda sign, n, name: self.slot_value(held, sign, n, name))

    # Deliveries.

    def start(self, data):
        body, slots, _ = read_capdata(data, 0)
        parameters = self.unmarshal(body, self.arrive(slots))
        arguments = (parameters,) if self.root_class.__init__ is not object.__init__ else ()
        if not issubclass(self.root_class, Durable):
            self.root = self.root_class(*arguments)
            self.root._ref = ROOT
        elif self.store.get("s.o+0") is None:
            self.durables.making_root = True
            self.root = self.root_class(*arguments)
        else:
            self.root = self.durables.get(ROOT, self.root_class)
        if self.incarnation > 1:
            self.clist_at, self.rows_at = NO_REF, "r.o+d"
        if hasattr(self.root_class, "_start"):
            self.root._start(parameters)

    def message(self, data):
        target, result = struct.unpack_from("<QQ", data)
        body, slots, _ = read_capdata(data, 16)
        held = self.arrive(slots)
        answer = self.promises.get(result) or Promise()         # one of our own may have come home
        answer._ours = True
        if result:
            answer._ref, self.promises[result] = result, answer
        else:
            answer._when(lambda p: p._state == "broken" and log("nobody heard: %s: %s" % error_of(p._value), "warning"))
        run_into(answer, self.call, target, body, held)

    def call(self, target, body, held):
        obj = self.object(target)
        message = self.unmarshal(body, held)
        if not isinstance(message, list) or list(map(type, message))[1:] != [list] or not isinstance(message[0], str):
            raise Error("a message is an array of a method and an array of arguments", "TypeError")
        method, arguments = message
        function = getattr(type(obj), method, None)
        if method.startswith("_") or not inspect.isfunction(function):
            raise Error('%s has no method "%s"' % (type(obj).__name__, method), "TypeError")
        return function(obj, *arguments)

    def notify(self, data):
        listed, at = [], 8
        for _ in range(struct.unpack_from("<I", data)[0]):
            ref, flags = struct.unpack_from("<QI", data, at)
            body, slots, at = read_capdata(data, at + 16)
            listed.append((ref, flags, body, slots))
        # They may occur in each other's values, and some are seen here for the first time.
        for ref, _, _, _ in listed:
            if ref not in self.promises:
                self.promises[ref] = Promise()
        values = [self.outcome(flags, body, self.arrive(slots)) for _, flags, body, slots in listed]
        for (ref, _, _, _), (state, value) in zip(listed, values):
            p = self.promises.pop(ref)
            p._ref = None
            p._become(*p._followed(state, value))

    def outcome(self, flags, body, held):
        try:
            value = self.unmarshal(body, held)
        except Error as e:
            return "broken", e
        if not flags & REJECTED:
            return "kept", value
        if not isinstance(value, Error):
            return "broken", Rejection(value)
        code = re.match(r"\[KERNEL:([A-Z_:]+)\]", value.message) if flags & KERNEL else None
        return "broken", Error(value.message, value.name, code and code[1])

    def wake(self, data):
        self.woken = False
        while self.timers and self.timers[0][0] <= time.monotonic():
            heapq.heappop(self.timers)[2].resolve(undefined)
        if self.collecting:
            self.collect(data)

    # Garbage.

    def drop_exports(self, data):
        for ref in read_refs(data):
            if ref & FORM:
                self.known(ref, "recognizable")
            elif ref in self.exports:
                self.exports[ref].held = None

    def retire_exports(self, data):
        for ref in read_refs(data):
            if ref & FORM:
                self.known(ref, "-")
            elif ref in self.exports:
                obj = self.exports.pop(ref).watched()
                if obj is not None:
                    obj._ref = None

    def known(self, ref, how):
        self.store.row(ref)[1] = how
        self.store.changed.add(ref)
        self.may_be_dead(ref)

    def retire_imports(self, data):
        for ref in read_refs(data):
            remote = self.imports.pop(ref, nobody)()
            if remote is not None:
                remote._ref = None

    def may_be_dead(self, ref):
        """Called by finalizers, at any time: only takes note."""
        self.dead.add(ref)

    def collect(self, _):
        gc.collect()
        drops, retired = [], []
        self.walk(drops)                        # first: it sees the clist as it was before this crank
        for _ in range(DEAD_A_CRANK - len(drops)):
            if not self.dead:
                break
            ref = self.dead.pop()
            if ref & BY_KERNEL:
                if ref in self.imports and self.imports[ref]() is None and not self.store.row(ref)[0]:
                    del self.imports[ref]
                    drops.append(ref)
            elif ref & FORM:
                if self.durables.bury(ref):
                    retired.append(ref)
            elif ref in self.exports and self.exports[ref].watched() is None:
                del self.exports[ref]
                retired.append(ref)
        if drops:
            self.syscall(DROP_IMPORTS, refs(sorted(drops)))
            self.syscall(DO_RETIRE_IMPORTS, refs(sorted(drops)))
        if retired:
            self.syscall(DO_RETIRE_EXPORTS, refs(sorted(retired)))
        self.collecting = bool(self.dead) or self.clist_at is not None or self.rows_at is not None
        if self.collecting:
            self.wake_me()

    def walk(self, drops):
        """What earlier incarnations had, some of it in each crank: imports, promises, Durables."""
        for _ in range(READS_A_CRANK):
            if self.clist_at is not None:
                flags, ref, _, _ = self.read(CLIST_NEXT, struct.pack("<Q", self.clist_at))
                self.clist_at = ref if flags & FOUND else None
                if not flags & FOUND:
                    continue
                if ref & IS_PROMISE:
                    if ref not in self.promises:
                        self.syscall(SUBSCRIBE, struct.pack("<Q", ref))
                elif ref not in self.imports:
                    if self.store.row(ref)[0]:
                        self.imports[ref] = nobody
                    else:
                        drops.append(ref)
            elif self.rows_at is not None:
                key = self.store.next(self.rows_at)
                self.rows_at = key if key and key.startswith("r.o+d") else None
                if self.rows_at:
                    self.may_be_dead(ref_parse(key[2:]))
            else:
                break


# --- what the author calls ------------------------------------------------------------------------------------------------

_vat = None
baggage = Baggage()


def the_vat():
    if _vat is None:
        raise RuntimeError("there is no vat before vat.run")
    return _vat


def run(root_class):
    """Be a vat whose root object is of this class. `__init__` gets the parameters; so does `_start`, at every start."""
    global _vat
    _vat = Vat(root_class)
    _vat.run()


def send(target, method, *args):
    """E(target).method(…), for any name of a method."""
    answer = Promise()
    the_vat().send(target, method, args, answer)
    return answer


def tell(target, method, *args):
    """Send, and want no answer."""
    the_vat().send(target, method, args, None)


async def settled(value):
    """What a promise becomes; anything else as it is."""
    return await value if isinstance(value, Promise) else value


def sleep(seconds):
    """A promise that is kept after so long."""
    p = Promise()
    vat = the_vat()
    heapq.heappush(vat.timers, (time.monotonic() + seconds, next(vat.timer_order), p))
    return p


def log(text, level="info"):
    """Lines for people."""
    level = ("debug", "info", "warning", "error").index(level)
    lines = [line.encode("utf-8", "replace")[:TEXT_MAX].decode("utf-8", "ignore").encode() for line in text.splitlines()]
    the_vat().channel.send([frame(LOG, 0, struct.pack("<II", level, 0) + field(line)) for line in lines])


def exit(info=undefined, failure=False):
    """The end of this vat for good, when this delivery has ended. With failure, what it did is undone."""
    vat = the_vat()
    vat.syscall(EXIT, capdata(*vat.marshal(info)), FAILURE if failure else 0)
    vat.settle_fresh()


def identity():
    """The number of this vat, and of its incarnation."""
    return the_vat().id, the_vat().incarnation
