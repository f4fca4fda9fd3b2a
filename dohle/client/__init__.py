"""The SDK: Producer, Consumer and Admin, asyncio first; their synchronous twins are in `dohle.sync`."""
