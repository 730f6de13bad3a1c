"""Drives one Python client by lines of JSON: a command on stdin, its result on stdout.

The client is `openclaw-sdk` or `bamboo-claw` as installed; nothing of it is replaced. The test says when
to connect and what to call, so that it can restart the gateway or spoil a file in between.
"""
import asyncio
import json
import logging
import sys

logging.basicConfig(stream=sys.stderr, level=logging.INFO)


class Sdk:
    """openclaw-sdk: reads ~/.openclaw/identity/, stores nothing, reconnects when asked to."""

    def __init__(self, url, **_):
        from openclaw_sdk.gateway.protocol import ProtocolGateway

        self.client = ProtocolGateway(url + "/gateway", default_timeout=10)

    async def connect(self):
        await self.client.connect()
        return True

    async def call(self, method, params):
        return await self.client.call(method, params)

    async def dropped(self):
        """Waits until the client has seen its connection end."""
        while self.client._connected:
            await asyncio.sleep(0.01)
        return True

    async def back(self):
        await self.client.connect()
        return True

    async def health(self):
        return (await self.client.health()).healthy

    async def close(self):
        await self.client.close()


class Bamboo:
    """bamboo-claw: keeps key and token in its data directory, and reconnects by itself."""

    def __init__(self, url, token="", data=""):
        from bamboo_claw_client.gateway import GatewayClient

        self.client = GatewayClient(url, token, data)

    async def connect(self):
        hello = await self.client.connect()
        return hello["payload"]["protocol"]

    async def call(self, method, params):
        """The library has two calls of its own, chat.send and chat.history; others go by its socket."""
        await self.client.ws.send(json.dumps({"type": "req", "id": "peer", "method": method, "params": params}))
        while True:
            message = await self.client._receive()
            if message.get("type") == "res" and message.get("id") == "peer":
                if not message["ok"]:
                    raise RuntimeError(message["error"]["message"])
                return message["payload"]

    async def chat(self, message):
        """Sends a message as its bot does: the answer, and the parts in which it came."""
        parts = []

        async def on_event(event):
            parts.append(event)

        end = await self.client.send_chat_message(message, on_event=on_event)
        return end["content"], len(parts), end["sessionKey"]

    async def history(self, key):
        return await self.client.get_chat_history(key)

    async def dropped(self):
        """Reads until the connection ends, as its chat loop does; its own reconnect then starts."""
        try:
            while True:
                await self.client._receive()
        except Exception as end:
            await self.client._handle_transport_disconnect(end)
        return True

    async def back(self):
        await self.client._reconnect_task
        return self.client.connected

    async def health(self):
        return (await self.call("health", {}))["ok"]

    async def close(self):
        await self.client.disconnect()


async def main():
    peer = {"sdk": Sdk, "bamboo": Bamboo}[sys.argv[1]](**json.loads(sys.argv[2]))
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        do, *args = json.loads(line)
        try:
            answer = {"ok": await asyncio.wait_for(getattr(peer, do)(*args), 30)}
        except Exception as fault:
            answer = {"fault": f"{type(fault).__name__}: {fault}"}
        print(json.dumps(answer), flush=True)
        if do == "close":
            return


asyncio.run(main())
