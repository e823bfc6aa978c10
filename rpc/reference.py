# SPDX-License-Identifier: Apache-2.0
"""reference.py HEADER… OUTPUT: the headers' comments as one markdown document.

A group is what stands under one /** comment */ up to the next blank line: its declarations are
shown as they are, the comment below them. A function without a comment is an error: the headers
are the contract.
"""
import pathlib
import re
import sys


def declared_names(code):
    """Functions, types and macros that the code declares, in order."""
    bare = re.sub(r"/\*.*?\*/", "", code, flags=re.S)
    names = re.findall(r"^#define (\w+)", bare, re.M)
    body = re.sub(r"^#.*?(?<!\\)$", "", bare, flags=re.M)
    names += re.findall(r"^(?:RPC_API|static inline)[^;{]*?\b(rpc_\w+)\s*\(", body, re.M)
    names += re.findall(r"^typedef [^;{]*\b(rpc_\w+)(?: \w+\(|;|\()", body, re.M)
    names += re.findall(r"^\} (rpc_\w+);", body, re.M)
    return list(dict.fromkeys(names))


def text_of(comment):
    lines = [re.sub(r"^\s*\*? ?", "", line, count=1) for line in comment.splitlines()]
    # What is set in by more than a space lists arguments or fields: kept as lines.
    out = []
    for line in lines:
        line = line[1:] if line.startswith(" ") else line
        argument = re.match(r"^(\w+)  +(\S.*)$", line)
        if argument:
            out.append(f"- `{argument[1]}`: {argument[2]}")
        else:
            out.append(line.rstrip())
    return "\n".join(out).strip()


class Group:
    def __init__(self, comment=""):
        self.comment, self.code = comment, []

    def render(self):
        code = "\n".join(self.code)
        names = declared_names(code)
        heading = ", ".join(f"`{name}`" for name in names)
        parts = [f"### {heading}" if names else "", f"```c\n{code}\n```", text_of(self.comment)]
        return "\n\n".join(part for part in parts if part)


def take_declaration(lines, at):
    """Lines of one declaration or macro from at on; and where it ends."""
    depth, start = 0, at
    while True:
        line = re.sub(r"/\*.*?\*/", "", lines[at])
        depth += line.count("{") - line.count("}")
        at += 1
        if lines[start].startswith("#"):
            if not lines[at - 1].endswith("\\"):
                break
        elif depth == 0 and re.search(r"[;}]\s*(/\*.*)?$", line):
            break
    while "/*" in lines[at - 1] and "*/" not in lines[at - 1].rpartition("/*")[2]:
        at += 1  # a comment that goes on behind the declaration
    return lines[start:at], at


def take_comment(lines, at):
    start = at
    while "*/" not in lines[at]:
        at += 1
    comment = "\n".join(lines[start:at + 1]).strip()
    return re.sub(r"^/\*\*? ?|\s*\*/$", "", comment), at + 1


def read(header):
    """[("section", name) | ("text", comment) | ("group", Group)] in the header's order."""
    lines = header.read_text().splitlines()
    items, at, group = [], 0, None
    while at < len(lines):
        line = lines[at]
        section = re.match(r"/\* -{3,} (.*?) -{3,} \*/", line)
        if section:
            items.append(("section", section[1]))
            at, group = at + 1, None
        elif line.startswith("/**"):
            comment, at = take_comment(lines, at)
            group = Group(comment)
            items.append(("group", group))
        elif line.startswith("/*"):
            _, at = take_comment(lines, at)
        elif not line.strip():
            at, group = at + 1, None
        elif re.match(r"#(ifndef|ifdef|endif|include|define DACM_)|extern \"C\"|^\}$", line):
            if group and not group.code:  # what the file as a whole says
                items[-1] = ("text", group.comment)
            at, group = at + 1, None
        else:
            code, at = take_declaration(lines, at)
            if group is None:
                group = Group()
                items.append(("group", group))
            group.code += code
    return [(kind, item) for kind, item in items if kind != "group" or item.code]


def complain(header, items):
    missing = [name for kind, group in items if kind == "group" and not group.comment
               for name in declared_names("\n".join(group.code))
               if re.search(rf"^RPC_API[^;]*\b{name}\s*\(", "\n".join(group.code), re.M)]
    if missing:
        sys.exit(f"{header}: no comment says what these do: {', '.join(missing)}")


def main():
    *headers, output = (pathlib.Path(argument) for argument in sys.argv[1:])
    parts = ["# librpc: reference",
             f"Made from {' and '.join(f'`<dacm-rpc/{header.name}>`' for header in headers)}, "
             "which are the contract."]
    for header in headers:
        items = read(header)
        complain(header, items)
        parts.append(f"# `{header.name}`")
        for kind, item in items:
            parts.append(f"## {item[0].upper() + item[1:]}" if kind == "section"
                         else text_of(item) if kind == "text" else item.render())
    output.write_text("\n\n".join(parts) + "\n")


main()
