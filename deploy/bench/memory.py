#!/usr/bin/env python3
"""Resident memory of a running node under two loads; prints one JSON line each.

  memory.py idle  HOST:PORT PID [--sessions 10000]             plaintext sessions that idle after EHLO
  memory.py large HOST:PORT PID [--clients 200] [--octets 25165824]   messages sent at once; what hears 4yz is retried

Clients come from 127.0.0.50 as alice@sender.test and write to user{0..999}@customer.test. Both need `ulimit -n` above the
number of sessions. It exits 1 if a session is refused, or a message is not delivered within ten minutes.
"""
import argparse
import asyncio
import json
import resource
import sys
import time

CLIENT, HELO = "127.0.0.50", "client.sender.test"


def memory_mb(pid, field):
    """VmRSS (now) or VmHWM (most so far), in MB."""
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field)) / 1024


class Session:
    async def open(self, endpoint):
        self.reader, self.writer = await asyncio.open_connection(*endpoint, local_addr=(CLIENT, 0))
        assert await self.reply() == 220
        assert await self.command(f"EHLO {HELO}") == 250
        return self

    async def reply(self):
        while True:
            line = await self.reader.readuntil(b"\r\n")
            if line[3:4] == b" ":
                return int(line[:3])

    async def command(self, line):
        self.writer.write(line.encode() + b"\r\n")
        return await self.reply()

    def close(self):
        self.writer.close()


async def idle(endpoint, pid, asked):
    before = memory_mb(pid, "VmRSS")
    sessions = []
    while len(sessions) < asked.sessions:
        count = min(200, asked.sessions - len(sessions))
        sessions += await asyncio.gather(*(Session().open(endpoint) for _ in range(count)))
    await asyncio.sleep(2)
    during = memory_mb(pid, "VmRSS")
    alive = [await s.command("NOOP") for s in (sessions[0], sessions[-1])]
    for session in sessions:
        session.close()
    print(json.dumps({"load": "idle", "sessions": len(sessions), "rss_before_mb": round(before, 1),
                      "rss_mb": round(during, 1), "noop": alive}))


async def transfer(endpoint, number, body):
    """One message until it is taken: (seconds, tries)."""
    begun, tries = time.monotonic(), 0
    while True:
        tries += 1
        session = await Session().open(endpoint)
        code = await session.command("MAIL FROM:<alice@sender.test>")
        if code == 250:
            code = await session.command(f"RCPT TO:<user{number}@customer.test>")
        if code == 250:
            code = await session.command("DATA")
        if code == 354:
            session.writer.write(f"From: alice@sender.test\r\nTo: user{number}@customer.test\r\n"
                                 f"Message-ID: <large.{number}.{begun}@sender.test>\r\n"
                                 "Date: Mon, 02 Nov 2026 10:00:00 +0000\r\n\r\n".encode())
            for start in range(0, len(body), 65536):
                session.writer.write(body[start:start + 65536])
                await session.writer.drain()
            session.writer.write(b".\r\n")
            code = await session.reply()
        session.close()
        if code == 250:
            return time.monotonic() - begun, tries
        assert 400 <= code < 500, f"message {number}: {code}"
        await asyncio.sleep(1)


async def large(endpoint, pid, asked):
    line = b"x" * 76 + b"\r\n"
    body = line * (asked.octets // len(line))
    before, peak, done = memory_mb(pid, "VmRSS"), 0.0, asyncio.Event()

    async def watch():
        nonlocal peak
        while not done.is_set():
            peak = max(peak, memory_mb(pid, "VmRSS"))
            await asyncio.sleep(0.1)

    watcher = asyncio.create_task(watch())
    async with asyncio.timeout(600):
        results = await asyncio.gather(*(transfer(endpoint, n, body) for n in range(asked.clients)))
    done.set()
    await watcher
    print(json.dumps({"load": "large", "clients": asked.clients, "octets": len(body), "rss_before_mb": round(before, 1),
                      "rss_peak_mb": round(peak, 1), "longest_s": round(max(s for s, _ in results), 1),
                      "retries": sum(tries - 1 for _, tries in results)}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("load", choices=("idle", "large"))
    parser.add_argument("endpoint")
    parser.add_argument("pid", type=int)
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--octets", type=int, default=24 * 1024 * 1024)
    asked = parser.parse_args()
    host, port = asked.endpoint.rsplit(":", 1)
    files = asked.sessions + 1000
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, max(files, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
    asyncio.run((idle if asked.load == "idle" else large)((host, int(port)), asked.pid, asked))


if __name__ == "__main__":
    sys.exit(main())
