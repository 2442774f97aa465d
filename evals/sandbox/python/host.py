# The launch host: the pinned interpreter with Assay's launcher library in it. Runs no program itself.
import sys

sys.path[:] = [path for path in sys.path if path.startswith("/")]
import ctypes
import json
import marshal
import os


def interpreter_paths():
    """Folders and files the interpreter needs, links resolved, none inside another; the dynamic loader."""
    stdlib = os.path.dirname(os.path.realpath(os.__file__))
    wanted = {os.path.realpath(sys.executable), stdlib}
    loader = ""
    with open("/proc/self/maps") as maps:
        for line in maps:
            path = line.rstrip("\n")[73:]
            if ".so" in os.path.basename(path) and path.startswith("/") and not path.startswith("/memfd"):
                wanted.add(os.path.dirname(os.path.realpath(path)))
                if os.path.basename(path).startswith("ld-"):
                    loader = os.path.realpath(path)
    for path in sys.path:
        if os.path.isdir(path):
            wanted.add(os.path.realpath(path))
    for path in ("/lib64", "/usr/lib64"):
        if os.path.isdir(path):
            wanted.add(os.path.realpath(path))
    wanted = sorted(wanted)
    return [p for p in wanted if not any(p.startswith(q + "/") for q in wanted)], stdlib, loader


library = ctypes.PyDLL("/proc/self/fd/4")
paths, stdlib, loader = interpreter_paths()
executable = os.path.realpath(sys.executable)
path_text = ctypes.create_string_buffer("\n".join(paths).encode("utf-8", "surrogateescape"))
executable_text = ctypes.create_string_buffer(executable.encode("utf-8", "surrogateescape"))
loader_text = ctypes.create_string_buffer(loader.encode("utf-8", "surrogateescape"))
if library.assay_host_prepare(3, path_text, executable_text, loader_text) != 0:
    os._exit(1)
os.close(4)

info = json.dumps({
    "path": executable,
    "version": "%s %d.%d.%d" % ((sys.implementation.name.replace("cpython", "CPython"),) + tuple(sys.version_info[:3])),
    "stdlib": stdlib,
    "paths": paths,
}).encode()
warm = sys.argv[1] == "warm"
code = compile(sys.argv[2], "<runner>", "exec")
namespace = {"__name__": "assay_runner", "__builtins__": __builtins__}
if warm:
    exec(code, namespace)
    namespace["preload"]()
# A cold start is handed the compiled text: compiling it anew would be a tenth of its time.
source = "import marshal;exec(marshal.loads(bytes.fromhex('%s')));run()" % marshal.dumps(code).hex()
del warm, paths, stdlib, loader
if library.assay_host_serve(3, info, source.encode()) == 1:
    ctypes.pythonapi.PyOS_AfterFork_Child()
    del library, ctypes, json, marshal, os, info, code, source, executable, executable_text, loader_text, path_text, interpreter_paths
    namespace["run"]()
