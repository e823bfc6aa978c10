# SPDX-License-Identifier: Apache-2.0
"""What is measured: dacmd with everything it has, gRPC C++ and nginx beside it, with the same
certificate and key, and what the kernel knows about each: CPU time and memory."""
import json
import os
import pathlib
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import types
import urllib.request

import suite

LARGE = 64 << 20
SMALL = 100_000
CIPHER = "TLS_AES_128_GCM_SHA256"

# OpenSSL's own default configuration for every process of the bench, clients and servers: one
# cipher for all, whatever a program would prefer.
OPENSSL_CONF = f"""openssl_conf = conf
[conf]
ssl_conf = ssl
[ssl]
system_default = defaults
[defaults]
Ciphersuites = {CIPHER}
"""

NGINX_CONF = """daemon off;
master_process on;
worker_processes auto;
pid {dir}/nginx.pid;
error_log {dir}/nginx.log warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    keepalive_requests 1000000000;
    large_client_header_buffers 4 64k;
    ssl_certificate {pki}/dacmd.crt;
    ssl_certificate_key {pki}/dacmd.key;
    ssl_protocols TLSv1.3;
    ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
    server {{
        listen 127.0.0.1:{port} ssl http2;
        root {dir}/files;
        location /dacm.v1.DigitalAssets/Authorize {{ return 200; }}
    }}
}}
"""


def status_kb(pid, field):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    return 0


def children(pid):
    text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


class Child:
    """A process that serves, with its children."""

    def __init__(self, pid):
        self.root = pid

    def pids(self):
        found = [self.root]
        for pid in found:
            found.extend(children(pid))
        return found

    def cpu_seconds(self):
        """Exact to the tick of /proc (10 ms): measure work that costs many."""
        total = 0
        for pid in self.pids():
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total / os.sysconf("SC_CLK_TCK")

    def thread_cpu_seconds(self, name):
        """Of the threads called that, exact to the nanosecond."""
        total = 0
        for pid in self.pids():
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                if (task / "comm").read_text().startswith(name):
                    total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def anonymous_kb(self):
        """What the process holds itself; mapped files (LMDB) are the kernel's to keep."""
        return sum(status_kb(pid, "RssAnon") for pid in self.pids())


class Server(Child):
    """One that we started; stopped at the end whatever happens."""

    def __init__(self, arguments, **kwargs):
        self.process = subprocess.Popen([str(part) for part in arguments], **kwargs)
        super().__init__(self.process.pid)

    def stop(self):
        self.process.terminate()
        self.process.wait(30)


class Siege:
    """Hostile clients around dacmd while the block runs; end() tells what they met."""

    def __init__(self, servers):
        self.servers = servers
        self.before, self.connections = servers.limits_reached(), servers.connections()
        self.kb = servers.dacmd.anonymous_kb()
        self.process = subprocess.Popen(
            [sys.executable, pathlib.Path(__file__).parent / "siege.py", "--target",
             servers.targets["dacmd"], "--token", servers.fresh_token(), "--asset",
             servers.assets[LARGE], "--gpsi", servers.user],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline().strip() != "standing":
            sys.exit("bench: the hostile clients were not let in")

    def __enter__(self):
        return self

    def end(self):
        """Adds what dacmd says: the limits that were reached, and its memory."""
        memory = self.servers.dacmd.anonymous_kb()
        told = json.loads(self.process.communicate("\n")[0])
        now = self.servers.limits_reached()
        told["limits"] = {name: count - self.before.get(name, 0) for name, count in now.items()
                          if count > self.before.get(name, 0)}
        told["server_mb"] = round((memory - self.kb) / 1024)
        return told

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        while self.servers.connections() > self.connections:
            time.sleep(0.1)


class Servers:
    def __init__(self, build):
        self.build, self.bin = build, build / "bin"
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="dacm-bench-"))
        conf = self.dir / "openssl.cnf"
        conf.write_text(OPENSSL_CONF)
        os.environ["OPENSSL_CONF"] = str(conf)
        self.started, self.providers, self.servers = [], {}, {}
        self.log = open(self.dir / "dev.log", "w+")

    def start_with_peers(self):
        """dacmd and those beside it, unless they run; rows of simsd need none of them."""
        if self.servers:
            return
        self.env, self.dacmd, _ = self.start_dacmd(self.dir / "dev", 17443)
        self.pki = self.dir / "dev" / "pki"
        self.user = self.env["users"][0]["gpsi"]
        self.ca = self.env["ca_file"]
        self.assets = {size: self.store_object(size) for size in (LARGE, SMALL)}
        self.targets = {"dacmd": self.env["dacm"]["grpc"].split("://")[1]}
        self.servers = {"dacmd": self.dacmd}
        for name, size, more in (("gRPC C++", LARGE, ()), ("gRPC C++ 100k", SMALL, ()),
                                 ("gRPC C++ tuned", LARGE, ("tuned",))):
            self.start_grpc_cpp(name, size, more)
        self.start_nginx()

    # ---- starting -------------------------------------------------------------------------

    def start(self, arguments, **kwargs):
        server = Server(arguments, **kwargs)
        self.started.append(server)
        return server

    def start_dacmd(self, directory, ports_from):
        """(env.json, dacmd, `dacm dev`); to be ended by stop() or by ending the last."""
        dev = self.start([self.bin / "dacm", "dev", "--dir", directory, "--ports-from",
                          ports_from], stdout=self.log, stderr=self.log)
        self.env_file = directory / "env.json"
        while not self.env_file.exists():
            if dev.process.poll() is not None:
                self.log.seek(0)
                sys.exit("bench: dacm dev did not start: " + self.log.read())
            time.sleep(0.05)
        return json.loads(self.env_file.read_text()), Child(next(
            pid for pid in children(dev.process.pid)
            if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == "dacmd")), dev

    def start_grpc_cpp(self, name, size, more):
        server = self.start(
            [self.build / "bench" / "grpc_cpp_server", "127.0.0.1:0", self.pki / "dacmd.crt",
             self.pki / "dacmd.key", size, *more], stdout=subprocess.PIPE, text=True)
        port = server.process.stdout.readline().strip()
        if not port:
            sys.exit(f"bench: {name} did not start")
        self.targets[name] = f"127.0.0.1:{port}"
        self.servers[name] = server

    def fresh(self, side):
        """A server nobody has called yet, since memory that was used once does not come back: its
        process, address and certificate authority, and what stops it."""
        if side != "dacmd":
            self.start_grpc_cpp("fresh", SMALL, ())
            server = self.servers["fresh"]
            return server, self.targets["fresh"], self.ca, server.stop
        kept = self.env_file
        env, dacmd, dev = self.start_dacmd(self.dir / "fresh", 17543)
        self.env_file = kept

        def stop():
            dev.stop()
            shutil.rmtree(self.dir / "fresh")
        return dacmd, env["dacm"]["grpc"].split("://")[1], env["ca_file"], stop

    def start_nginx(self):
        files = self.dir / "files"
        files.mkdir()
        for size in (LARGE, SMALL):
            (files / str(size)).write_bytes(os.urandom(size))
        port = 17490
        conf = self.dir / "nginx.conf"
        conf.write_text(NGINX_CONF.format(dir=self.dir, pki=self.pki, port=port))
        os.chmod(self.dir, 0o755)  # its workers give up root
        binary = "/usr/sbin/nginx"
        done = subprocess.run([binary, "-t", "-q", "-c", conf], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit("bench: nginx: " + done.stderr)
        server = self.start([binary, "-c", conf], stdout=self.log, stderr=self.log)
        while not children(server.root):
            if server.process.poll() is not None:
                sys.exit("bench: nginx did not start; see " + str(self.dir / "dev.log"))
            time.sleep(0.02)
        self.targets["nginx"] = f"127.0.0.1:{port}"
        self.servers["nginx"] = server

    def sims(self, settings=None):
        """simsd with a dacmd of its own, by the harness of the end-to-end tests."""
        sims = suite.load(self.build).Sims(settings, rs256=False)
        self.started.append(sims)
        return sims

    def skms(self, settings=None):
        """skmsd, by the harness of the end-to-end tests."""
        skms = suite.load(self.build, "keyserver").Skms(settings)
        self.started.append(types.SimpleNamespace(stop=skms.close))
        return skms

    def stop(self):
        for server in reversed(self.started):
            server.stop()

    # ---- what dacmd says of itself ----------------------------------------------------------

    def metrics(self):
        context = ssl.create_default_context(cafile=self.ca)
        with urllib.request.urlopen(self.env["dacm"]["https"] + "/metrics", context=context) as get:
            return get.read().decode()

    def limits_reached(self):
        return {name: int(float(count)) for name, count in re.findall(
            r'^dacm_limit_reached_total\{limit="(\w+)"\} (\S+)$', self.metrics(), re.M)}

    def connections(self):
        """Open ones of dacmd."""
        return int(float(re.search(r"^dacm_connections (\S+)$", self.metrics(), re.M)[1]))

    def siege(self):
        return Siege(self)

    # ---- dacmd's contents -------------------------------------------------------------------

    def cli(self, *arguments):
        done = subprocess.run([self.bin / "dacm", *arguments], text=True, capture_output=True,
                              env=dict(os.environ, DACM_ENV=str(self.env_file)))
        if done.returncode != 0:
            sys.exit(f"bench: dacm {' '.join(map(str, arguments))}: {done.stderr}")
        return done.stdout

    def store_object(self, size):
        file = self.dir / "object"
        file.write_bytes(os.urandom(size))
        answer = self.cli("--json", "put", file, "--as", self.user)
        return json.loads(answer.splitlines()[-1])["asset_id"]

    def store_forbidden(self, users):
        """An asset with a list of that many users."""
        asset = self.store_object(1000)
        listed = [f"msisdn-49170{i:07d}" for i in range(users)]
        for at in range(0, users, 1000):
            self.cli("allow", asset, *listed[at:at + 1000], "--as", self.user)
        return asset

    def fresh_token(self, user=None, asset=None):
        """Tokens live five minutes; a new one for every measurement keeps a long run going."""
        user, asset = user or self.user, asset or self.assets[LARGE]
        file = self.dir / f"token-{asset}"
        file.write_text(self.cli("token", "issue", "--user", user, "--asset", asset,
                                 "--actions", "get", "--profile", user).strip())
        return file
