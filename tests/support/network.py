# SPDX-License-Identifier: Apache-2.0
"""A network of the test's own: this process in one network namespace, a second one beside it, and
a wire between them (veth) that can become a black hole: packets leave and never arrive, nobody is
told, no RST comes.

A test file calls enter() before anything else; it starts the file again inside a namespace. Where
the kernel permits none, tests are skipped with the reason, or fail where DACM_REQUIRE_DATA=1."""
import json
import os
import shutil
import subprocess
import sys
import unittest

INSIDE = "DACM_NETWORK"  # in the environment: "inside", or why not
NOBODY = "02:00:00:00:00:00"  # an address of Ethernet that nobody here has


def enter():
    """Starts this program again in a network namespace; returns inside it, or where there is none."""
    if INSIDE in os.environ:
        return
    why = "unshare and ip are missing: apt-get install util-linux iproute2"
    if shutil.which("unshare") and shutil.which("ip"):
        for how in (["unshare", "--net"], ["unshare", "--net", "--map-root-user"]):
            tried = subprocess.run([*how, "sh", "-ec",
                                    "ip link set lo up; ip link add name near type veth peer name far"],
                                   capture_output=True, text=True, check=False)
            if tried.returncode == 0:
                os.environ[INSIDE] = "inside"
                os.execvp(how[0], [*how, sys.executable, *sys.argv])
            why = tried.stderr.strip()
    os.environ[INSIDE] = f"no network namespace here: {why}"


def require():
    """Skips, or fails where DACM_REQUIRE_DATA=1, unless enter() succeeded."""
    how = os.environ[INSIDE]
    if how != "inside" and os.environ.get("DACM_REQUIRE_DATA") == "1":
        raise AssertionError(how + " (DACM_REQUIRE_DATA=1)")
    if how != "inside":
        raise unittest.SkipTest(how)


class Wire:
    """Between this namespace (near) and another (far), with two networks on it: 10.99.0.0/24, which
    can become a black hole, and 10.99.1.0/24, which never does. In each of them near is 1 and far
    is 2. `prefix` is put before a command that shall run at the far end."""
    near, far = "10.99.0.1", "10.99.0.2"
    near_always, far_always = "10.99.1.1", "10.99.1.2"

    def __init__(self):
        self.holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep infinity"],
                                       stdout=subprocess.PIPE)
        self.holder.stdout.readline()  # it is in its namespace
        pid = str(self.holder.pid)
        self.prefix = ["nsenter", "--target", pid, "--net", "--"]
        self.ip("link", "set", "lo", "up")
        self.ip("link", "add", "name", "near", "type", "veth", "peer", "name", "far", "netns", pid)
        self.ip("link", "set", "lo", "up", far=True)
        for end, addresses in ((False, (self.near, self.near_always)),
                               (True, (self.far, self.far_always))):
            name = "far" if end else "near"
            for address in addresses:
                self.ip("address", "add", address + "/24", "dev", name, far=end)
            self.ip("link", "set", name, "up", far=end)
        self.near_mac, self.far_mac = self.mac("near"), self.mac("far", far=True)

    def ip(self, *arguments, far=False):
        done = subprocess.run([*(self.prefix if far else []), "ip", *arguments],
                              capture_output=True, text=True, check=False)
        assert done.returncode == 0, (arguments, done.stderr)
        return done.stdout

    def mac(self, name, far=False):
        return json.loads(self.ip("-json", "link", "show", name, far=far))[0]["address"]

    def neighbours(self, near_mac, far_mac):
        """Whom each end takes for the other one."""
        self.ip("neighbour", "replace", self.far, "lladdr", far_mac, "dev", "near",
                "nud", "permanent")
        self.ip("neighbour", "replace", self.near, "lladdr", near_mac, "dev", "far",
                "nud", "permanent", far=True)

    def black_hole(self):
        self.neighbours(NOBODY, NOBODY)

    def heal(self):
        self.neighbours(self.near_mac, self.far_mac)

    def close(self):
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()
