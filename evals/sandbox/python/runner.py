# Becomes the program: in a warm start inside the process forked from the launch host, in a cold start executed anew.
# It speaks frames (docs/sandbox.md) over descriptors 3 and 4. Nothing here decides a verdict about the program it runs:
# whatever a program does to this code can only change its own answers.
import os
import struct
import sys


def preload():
    """What programs import most; a warm start finds it imported already. Every page more is copied with every run."""
    import abc, bisect, cmath, collections, copy, dis, enum, functools, heapq, itertools, math, operator  # noqa
    import random, re, string, time, typing, types  # noqa
    hidden.extend(name for name in sys.modules if name == "ctypes" or name.startswith("ctypes."))
    import gc
    gc.collect()
    gc.freeze()


hidden = []  # what the launch host has imported for itself: a program finds it not imported, as in a cold start


class TooLarge(Exception):
    pass


class Stay:
    """Stands for an object that stayed in the other process."""

    def __init__(self, type_name, number):
        self.type_name, self.number = type_name, number

    def __repr__(self):
        return "<%s object>" % self.type_name


MAX_DEPTH = 40
MIN_PACKED = 4  # items of a list that is worth a look whether it holds numbers alone


def make_codec(kept, max_bytes):
    """encode(value) -> bytes and decode(bytes) -> value; objects that are not plain are kept in `kept`."""
    pack, unpack_from, struct_error, exact = struct.pack, struct.unpack_from, struct.error, type
    bases = (int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset)
    plain = {
        int: lambda v: int.__add__(v, 0), float: float.__float__, complex: lambda v: complex(v.real, v.imag),
        str: str.__str__, bytes: lambda v: bytes.__getitem__(v, slice(None)), bytearray: bytes,
        list: lambda v: list.__getitem__(v, slice(None)), tuple: lambda v: tuple(tuple.__iter__(v)),
        dict: lambda v: dict(dict.items(v)), set: lambda v: set(set.__iter__(v)),
        frozenset: lambda v: frozenset(frozenset.__iter__(v)),
    }
    marks = {list: b"l", tuple: b"t", set: b"S", frozenset: b"Z"}
    numbers, sequences = {int, float}, {list, tuple}

    def sized(mark, data):
        if len(data) > max_bytes:
            raise TooLarge
        return mark + pack("<I", len(data)) + data

    def packed(value, mark):
        """A list or tuple of machine numbers in a handful of calls; None where anything else is in it."""
        kinds = set(map(exact, value))
        if not kinds <= numbers:
            return None
        integers = value if len(kinds) == 1 and int in kinds else [x for x in value if exact(x) is int]
        reals = [x for x in value if exact(x) is float] if float in kinds else ()
        try:
            data = [b"p", mark, pack("<II", len(value), len(integers)), pack("<%dq" % len(integers), *integers),
                    pack("<%dd" % len(reals), *reals)]
        except struct_error:
            return None
        if len(kinds) == 2:
            data.insert(3, bytes([exact(x) is float for x in value]))
        return b"".join(data)

    def unpacked(data, at):
        make = {b"l": list, b"t": tuple}[data[at:at + 1]]
        count, num_integers = unpack_from("<II", data, at + 1)
        at += 9
        kinds = data[at:at + count] if 0 < num_integers < count else b""
        at += len(kinds)
        integers = unpack_from("<%dq" % num_integers, data, at)
        at += 8 * num_integers
        reals = unpack_from("<%dd" % (count - num_integers), data, at)
        at += 8 * len(reals)
        if not kinds:
            return make(integers or reals), at
        integers, reals = iter(integers), iter(reals)
        return make([next(reals) if kind else next(integers) for kind in kinds]), at

    def write(value, out, depth):
        kind = exact(value)
        if value is None:
            out.append(b"N")
        elif kind is bool:
            out.append(b"T" if value else b"F")
        elif kind is int:
            if -0x8000000000000000 <= value <= 0x7FFFFFFFFFFFFFFF:
                out.append(pack("<cq", b"i", value))
            elif value.bit_length() > 4 * max_bytes:
                raise TooLarge
            else:
                out.append(sized(b"I", (b"-" if value < 0 else b"") + b"%x" % abs(value)))
        elif kind is float:
            out.append(pack("<cd", b"f", value))
        elif kind is str:
            if len(value) > max_bytes:
                raise TooLarge
            out.append(sized(b"s", value.encode("utf-8", "surrogatepass")))
        elif kind in marks:
            if depth >= MAX_DEPTH:
                raise TooLarge
            if len(value) > max_bytes:
                raise TooLarge
            numeric = packed(value, marks[kind]) if len(value) >= MIN_PACKED and kind in sequences else None
            if numeric:
                return out.append(numeric)
            out.append(marks[kind] + pack("<I", len(value)))
            for item in value:
                write(item, out, depth + 1)
        elif kind is dict:
            if depth >= MAX_DEPTH:
                raise TooLarge
            out.append(b"d" + pack("<I", len(value)))
            for key, item in value.items():
                write(key, out, depth + 1)
                write(item, out, depth + 1)
        elif kind is bytes:
            out.append(sized(b"b", value))
        elif kind is complex:
            out.append(pack("<cdd", b"c", value.real, value.imag))
        elif kind is Stay:
            name = value.type_name.encode("utf-8", "replace")[:200]
            out.append(b"o" + pack("<QI", value.number, len(name)) + name)
        else:
            for base in bases:
                if base in kind.__mro__:
                    out.append(b"x")
                    return write(plain[base](value), out, depth)
            kept.append(value)
            name = kind.__name__.encode("utf-8", "replace")[:200]
            out.append(b"o" + pack("<QI", len(kept) - 1, len(name)) + name)

    def encode(value):
        out = []
        write(value, out, 0)
        data = b"".join(out)
        if len(data) > max_bytes:
            raise TooLarge
        return data

    def read(data, at):
        mark = data[at:at + 1]
        at += 1
        if mark == b"i":
            return unpack_from("<q", data, at)[0], at + 8
        if mark == b"f":
            return unpack_from("<d", data, at)[0], at + 8
        if mark == b"N":
            return None, at
        if mark == b"T":
            return True, at
        if mark == b"F":
            return False, at
        if mark == b"c":
            return complex(*unpack_from("<dd", data, at)), at + 16
        if mark == b"x":
            return read(data, at)
        if mark == b"p":
            return unpacked(data, at)
        if mark == b"o":
            number, count = unpack_from("<QI", data, at)
            name = data[at + 12:at + 12 + count].decode("utf-8", "replace")
            return (kept[number] if number < len(kept) else Stay(name, number)), at + 12 + count
        count = unpack_from("<I", data, at)[0]
        at += 4
        if mark == b"s":
            return data[at:at + count].decode("utf-8", "surrogatepass"), at + count
        if mark == b"b":
            return data[at:at + count], at + count
        if mark == b"I":
            return int(data[at:at + count], 16), at + count
        if mark == b"d":
            result = {}
            for _ in range(count):
                key, at = read(data, at)
                result[key], at = read(data, at)
            return result, at
        items = []
        for _ in range(count):
            item, at = read(data, at)
            items.append(item)
        return {b"l": list, b"t": tuple, b"S": set, b"Z": frozenset}[mark](items), at

    return encode, lambda data: read(data, 0)[0]


def make_channel(kept, max_bytes):
    encode, decode = make_codec(kept, max_bytes)
    os_read, os_write, pack = os.read, os.write, struct.pack
    buffer = bytearray()

    def receive():
        """The next frame as (mark, value)."""
        while True:
            if len(buffer) >= 4:
                size = int.from_bytes(buffer[:4], "little")
                if len(buffer) >= 4 + size:
                    frame = bytes(buffer[4:4 + size])
                    del buffer[:4 + size]
                    return frame[:1], decode(frame[1:])
            data = os_read(3, 1 << 16)
            if not data:
                os._exit(0)
            buffer.extend(data)

    def send(mark, value):
        data = encode(value)
        data = memoryview(pack("<I", 1 + len(data)) + mark + data)
        while data:
            data = data[os_write(4, data):]

    return receive, send


def describe(error):
    """(type name, message) of an exception, whatever its __str__ does."""
    try:
        text = str(error)[:300]
    except BaseException:
        text = ""
    return type(error).__name__, text


def run_program(source):
    """A program without tests, as `python FILE` would run it."""
    os.close(3)
    os.close(4)
    module = type(sys)("__main__")
    module.__builtins__ = __builtins__
    sys.modules["__main__"] = module
    status = 0
    try:
        exec(compile(source, "program.py", "exec"), module.__dict__)
    except SystemExit as error:
        status = exit_status(error)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__ and error.__traceback__.tb_next)
        status = 1
    leave(module, status)


def exit_status(error):
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 255
    print(error.code, file=sys.stderr)
    return 1


def leave(module, status):
    """What an interpreter does at its end, but for taking itself apart: that would cost more than most programs."""
    import atexit
    try:
        if "threading" in sys.modules:
            sys.modules["threading"]._shutdown()
        atexit._run_exitfuncs()
        for name in list(module.__dict__):
            module.__dict__[name] = None
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except SystemExit as error:
        status = exit_status(error)
    except BaseException:
        status = status or 120
    os._exit(status)


def run_candidate(source, entry_point, max_bytes):
    kept = []
    receive, send = make_channel(kept, max_bytes)
    names = {}
    try:
        exec(compile(source, "<candidate>", "exec"), names)
        names[entry_point]
    except BaseException as error:
        send(b"X", describe(error))
        os._exit(1)
    send(b"L", None)
    while True:
        _, (number, name, arguments, keywords) = receive()
        try:
            answer = names[name](*arguments, **keywords)
        except BaseException as error:
            send(b"E", (number,) + describe(error))
            continue
        try:
            send(b"A", (number, answer))
        except (TooLarge, RecursionError):
            send(b"B", number)


def run_checker(source, support, entry_point, max_bytes):
    import builtins
    receive, send = make_channel([], max_bytes)
    state = {"number": 0}

    class StandIn:
        def __init__(self, name):
            self.name = name

        def __call__(self, *arguments, **keywords):
            state["number"] += 1
            send(b"C", (state["number"], self.name, arguments, keywords))
            mark, value = receive()
            if mark == b"A":
                return value[1]
            kind = getattr(builtins, value[1], None)
            if isinstance(kind, type) and issubclass(kind, Exception) and kind is not AssertionError:
                try:
                    error = kind(value[2])
                except TypeError:
                    error = RuntimeError(value[1] + ": " + value[2])
                raise error
            raise RuntimeError(value[1] + ": " + value[2])

    def all_codes(code):
        yield code
        for constant in code.co_consts:
            if isinstance(constant, type(code)):
                yield from all_codes(constant)

    names = {}
    try:
        exec(compile(support, "<support>", "exec"), names)
        code = compile(source, "<tests>", "exec")
        names.pop(entry_point, None)
        stored = set()
        import dis
        for instruction in dis.get_instructions(code):
            if instruction.opname in ("STORE_NAME", "STORE_GLOBAL"):
                stored.add(instruction.argval)
        used = {name for part in all_codes(code) for name in part.co_names}
        # A program may define a function under a built-in's name; the one that is asked for is never the built-in.
        free = used - set(vars(builtins)) | {entry_point, "candidate"}
        for name in free - stored - set(names):
            names[name] = StandIn(name if name != "candidate" else entry_point)
        exec(code, names)
    except AssertionError as error:
        send(b"V", ("fail",) + describe(error))
    except BaseException as error:
        send(b"V", ("error",) + describe(error))
    else:
        send(b"V", ("pass", "", ""))
    os._exit(0)


def seed_random(*texts):
    """A program that never names the module is spared its import."""
    if any("random" in text for text in texts):
        import random
        random.seed(0)


def run():
    sys.path[:] = [path for path in sys.path if path.startswith("/") and "-packages" not in path]
    sys.argv[:] = ["program.py"]
    receive, send = make_channel([], 1 << 62)
    send(b"R", None)
    mark, value = receive()
    # Held, for taking them apart would cost more than most programs.
    held = [sys.modules["__main__"]] + [sys.modules.pop(name) for name in hidden]
    if mark == b"P":
        seed_random(value.decode("latin-1"))
        run_program(value)
    elif mark == b"G":
        seed_random(value[0])
        run_candidate(*value)
    elif mark == b"K":
        seed_random(value[0], value[1])
        run_checker(*value)
    return held
