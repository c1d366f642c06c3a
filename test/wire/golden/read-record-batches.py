"""Reads record batches of ours with foreign decoders, and says so when one of them disagrees.

Our batches come from test/wire/golden/write-record-batches.mjs, which needs a build:

    node test/wire/golden/write-record-batches.mjs | ./venv/bin/python test/wire/golden/read-record-batches.py

The decoders: kafka-python, aiokafka, and librdkafka, which consumes from a broker of its own within this script.
"""

import base64
import json
import socket
import struct
import sys
import threading

import confluent_kafka
from aiokafka.record.default_records import DefaultRecordBatch as AiokafkaBatch
from kafka.record.default_records import DefaultRecordBatch as KafkaPythonBatch


def data(text):
    if text is None:
        return None
    encoded, _, count = text.partition("*")
    return base64.b64decode(encoded) * int(count or 1)


def expected_of(records):
    return [
        (data(r["key"]), data(r["value"]), r["timestamp"], [(name, data(value)) for name, value in r["headers"]])
        for r in records
    ]


def by_python(batch_class, batch):
    reader = batch_class(batch)
    assert reader.validate_crc(), "checksum"
    return [(r.key, r.value, r.timestamp, list(r.headers)) for r in reader]


class Broker(threading.Thread):
    """Answers ApiVersions, Metadata, ListOffsets and Fetch for one partition that holds one batch."""

    APIS = {0: (0, 7), 1: (0, 11), 2: (0, 2), 3: (0, 4), 10: (0, 1), 18: (0, 0)}

    def __init__(self, batch, count):
        super().__init__(daemon=True)
        self.batch, self.count = batch, count
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def run(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve_until_closed, args=(connection,), daemon=True).start()

    def serve_until_closed(self, connection):
        try:
            self.serve(connection)
        except ConnectionError:
            pass  # The client closes without ceremony.

    def serve(self, connection):
        with connection, connection.makefile("rb") as stream:
            while length := stream.read(4):
                request = stream.read(struct.unpack(">i", length)[0])
                api, version, correlation = struct.unpack_from(">hhi", request)
                response = struct.pack(">i", correlation) + self.answer(api, version, request)
                connection.sendall(struct.pack(">i", len(response)) + response)

    def answer(self, api, version, request):
        topic = struct.pack(">h", 6) + b"golden"
        if api == 18:
            rows = b"".join(struct.pack(">hhh", key, low, high) for key, (low, high) in self.APIS.items())
            return struct.pack(">hi", 35 if version > 0 else 0, len(self.APIS)) + rows
        if api == 3:
            host = b"127.0.0.1"
            broker = struct.pack(">iih", 1, 0, len(host)) + host + struct.pack(">ih", self.port, -1)
            partition = struct.pack(">hiiiiii", 0, 0, 0, 1, 0, 1, 0)
            throttle = struct.pack(">i", 0) if version >= 3 else b""
            topics = struct.pack(">ih", 1, 0) + topic + struct.pack(">bi", 0, 1) + partition
            return throttle + broker + struct.pack(">hi", -1, 0) + topics
        if api == 2:
            throttle = struct.pack(">i", 0) if version >= 2 else b""
            return throttle + struct.pack(">i", 1) + topic + struct.pack(">iihqq", 1, 0, 0, -1, 0)
        if api == 10:
            # There is no coordinator, and none is needed: nothing is committed.
            if version == 0:
                return struct.pack(">hihi", 15, -1, 0, -1)
            return struct.pack(">ihhihi", 0, 15, -1, -1, 0, -1)
        assert api == 1, api
        # The position asked for is the first int64 behind the partition number of the only partition, if there is one.
        at = request.find(b"golden")
        if at < 0:
            offset = 0
        else:
            offset = struct.unpack_from(">q", request, at + 6 + 4 + 4 + (4 if version >= 9 else 0))[0]
        records = self.batch if offset < self.count else b""
        head = struct.pack(">ihi", 0, 0, 0) if version >= 7 else struct.pack(">i", 0)
        partition = struct.pack(">ihq", 0, 0, self.count) + struct.pack(">q", self.count)
        partition += (struct.pack(">q", 0) if version >= 5 else b"") + struct.pack(">i", 0)
        partition += struct.pack(">i", -1) if version >= 11 else b""
        return head + struct.pack(">i", 1) + topic + struct.pack(">i", 1) + partition + struct.pack(">i", len(records)) + records


def by_librdkafka(batch, count):
    broker = Broker(batch, count)
    broker.start()
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": f"127.0.0.1:{broker.port}", "group.id": "golden", "check.crcs": True, "enable.auto.commit": False}
    )
    consumer.assign([confluent_kafka.TopicPartition("golden", 0, 0)])
    records = []
    while len(records) < count:
        message = consumer.poll(10)
        assert message is not None, "nothing came"
        assert message.error() is None, message.error()
        records.append((message.key(), message.value(), message.timestamp()[1], list(message.headers() or [])))
    consumer.close()
    return records


def main():
    checked = 0
    for entry in json.load(sys.stdin):
        batch, expected = data(entry["batch"]), expected_of(entry["records"])
        for name, read in (
            ("kafka-python", lambda: by_python(KafkaPythonBatch, batch)),
            ("aiokafka", lambda: by_python(AiokafkaBatch, batch)),
            ("librdkafka", lambda: by_librdkafka(batch, len(expected))),
        ):
            found = read()
            found = [(bytes(k) if k is not None else None, bytes(v) if v is not None else None, t, h) for k, v, t, h in found]
            assert found == expected, f"{name} reads {entry['case']} ({entry['codec']}) differently"
            checked += 1
    print(f"{checked} readings agree")


main()
