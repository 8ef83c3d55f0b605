"""nchan, a module of the system's nginx: the strongest of the other servers."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import ClassVar, Final

from bench.programs.child import BenchError, free_port
from bench.subjects.servers import Server, run_valkey

_CONFIG: Final = """
{module}
{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile {files};
pid nginx.pid;
error_log stderr crit;
events {{ worker_connections {files}; }}
http {{
    {store}
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = /events {{ nchan_subscriber eventsource; {channel} }}
        location = /publish {{ nchan_publisher; {channel} }}
        location = /healthz {{ return 204; }}
    }}
}}
"""


class Nchan(Server):
    """nchan with one channel. The body of a publish is the data of one event."""

    name = "nchan"
    batches = False
    body = to_one = "@DATA@"
    store: str = ""
    channel: ClassVar[str] = "nchan_channel_id bench;"

    def start(self) -> None:
        nginx = shutil.which("nginx", path=f"/usr/sbin:/usr/local/sbin:{os.environ.get('PATH', '')}")
        if nginx is None:
            raise BenchError("not installed")
        config = self.folder / "nchan.conf"
        config.write_text(self._config(nginx))
        words = [nginx, "-p", str(self.folder), "-c", str(config), "-e", "stderr"]
        if subprocess.run([*words, "-t"], capture_output=True).returncode != 0:
            raise BenchError("not installed")
        self.run(words, "/healthz")

    def _config(self, nginx: str) -> str:
        told = subprocess.run([nginx, "-V"], capture_output=True, text=True).stderr
        folder = re.search(r"--modules-path=(\S+)", told)
        module = Path(folder[1] if folder else "/usr/lib/nginx/modules") / "ngx_nchan_module.so"
        return _CONFIG.format(
            module=f"load_module {module};" if module.exists() else "",  # else it may be built in
            user="user root;" if os.geteuid() == 0 else "",
            files=20000,
            port=self.port,
            store=self.store,
            channel=self.channel,
        )


class NchanRedis(Nchan):
    """A channel for each user, kept in a Valkey."""

    name = "nchan+redis"
    own = "/events?user={}"
    publish = "/publish?user=@USER@"
    channel = "nchan_channel_id $arg_user; nchan_redis_pass kept;"

    def start(self) -> None:
        port = free_port()
        run_valkey(self, "--bind", "127.0.0.1", "--port", str(port))
        self.store = f"upstream kept {{ nchan_redis_server redis://127.0.0.1:{port}; }}"
        super().start()
