"""Shows a cluster's topics, and the messages of one, in kaskade without a terminal: `views.py BOOTSTRAP TOPIC FOLDER`.

FOLDER gets a picture of each view. Fails with what was seen instead, if the topic and what was written to it are not
shown in time. Runs in an environment of its own, for kaskade's sake.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from html import unescape
from pathlib import Path

from confluent_kafka import Producer
from kaskade.admin import KaskadeAdmin
from kaskade.consumer import KaskadeConsumer
from kaskade.deserializers import Deserialization
from textual.app import App

MOST_S = 60.0
_FLIGHTS = [
    ("UA1545", "EWR to IAH, 2 minutes late"),
    ("AA1141", "JFK to MIA, 2 minutes early"),
    ("B6725", "JFK to BQN, 1 minute early"),
]
_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)  # of another site


async def shown(app: App[None], wanted: list[str], picture: Path) -> None:
    until = time.monotonic() + MOST_S
    async with app.run_test(size=(130, 18)) as pilot:
        while True:
            await pilot.pause(0.1)
            svg = app.export_screenshot()
            text = unescape(" ".join(re.findall(r">([^<>]+)</text>", svg))).replace("\xa0", " ")
            if all(one in text for one in wanted):
                break
            if time.monotonic() > until:
                sys.exit(f"{picture.stem}: not all of {wanted} is shown in\n{text}")
    picture.write_text(_FONTS.sub("", svg), encoding="utf-8")


def main(servers: str, topic: str, folder: Path) -> None:
    configuration = {"bootstrap.servers": servers}
    producer = Producer(configuration)
    for key, value in _FLIGHTS:
        producer.produce(topic, key=key, value=value)
    if left := producer.flush(MOST_S):
        sys.exit(f"{left} records were not written in {MOST_S:.0f} s")
    topics = KaskadeAdmin(configuration)
    asyncio.run(shown(topics, [f" {topic} ", f"≈{len(_FLIGHTS)} "], folder / "kaskade-topics.svg"))
    from_the_first = configuration | {"auto.offset.reset": "earliest"}
    consumer = KaskadeConsumer(topic, from_the_first, {}, {}, {}, Deserialization.STRING, Deserialization.STRING)
    asyncio.run(shown(consumer, [value for _, value in _FLIGHTS], folder / "kaskade-messages.svg"))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
