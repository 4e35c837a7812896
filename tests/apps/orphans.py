"""Leaves orphans behind, and waits for a child of its own."""

import asyncio
import os
import subprocess

from tiny_listener import Param
from tiny_listener.http import HTTPListener

app = HTTPListener()


@app.get("/orphan")
async def orphan() -> str:
    out = subprocess.run(["sh", "-c", "sleep 3600 >&- 2>&- & echo $!"], capture_output=True, text=True, check=True)
    return out.stdout.strip()


@app.get("/child/{code:int}")
async def child(code: Param) -> int:
    process = await asyncio.create_subprocess_exec("sh", "-c", f"exit {code}")
    return await process.wait()


@app.get("/kill/{pid:int}")
async def kill(pid: Param) -> None:
    os.kill(pid, 9)
