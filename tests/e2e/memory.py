# SPDX-License-Identifier: Apache-2.0
"""The memory of a process that is looked through for secrets, as who has its core dump or the swap
of its machine would. Needs the right to look (root): ptrace of a process that is not dumpable."""
import pathlib
import re

SIZE_MAX = 1 << 30  # what is larger a sanitizer reserves
HEAD = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \d+ *(.*)$")


class Mapping:
    def __init__(self, start, end, permissions, name):
        self.start, self.end, self.name = start, end, name
        self.readable = permissions[0] == "r"
        self.flags = ()

    @property
    def locked(self):
        """Never in the swap."""
        return "lo" in self.flags

    @property
    def dumped(self):
        """In a core dump, where one is made."""
        return "dd" not in self.flags

    def __repr__(self):
        return f"{self.start:x}-{self.end:x} {self.name or 'anonymous'} {' '.join(self.flags)}"


def mappings(pid):
    found = []
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
        head = HEAD.match(line)
        if head:
            found.append(Mapping(int(head[1], 16), int(head[2], 16), head[3], head[4]))
        elif line.startswith("VmFlags:"):
            found[-1].flags = tuple(line.split()[1:])
    return found


def search(pid, secrets):
    """[(name of the secret, mapping)] of a process that rests; secrets: {name: bytes}."""
    found = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for mapping in mappings(pid):
            if mapping.readable and mapping.end - mapping.start <= SIZE_MAX:
                content = read(memory, mapping)
                found += [(name, mapping) for name, secret in secrets.items() if secret in content]
    return found


def read(memory, mapping, piece=64 << 20):
    """What of it is there; a mapped file may end before its mapping."""
    content, at = bytearray(), mapping.start
    while at < mapping.end:
        try:
            memory.seek(at)
            got = memory.read(min(piece, mapping.end - at))
        except OSError:
            break
        if not got:
            break
        content += got
        at += len(got)
    return bytes(content)


def locked_kb(pid):
    return int(re.search(r"VmLck:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1])
