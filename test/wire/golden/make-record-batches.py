"""Makes record-batches.json: record batches as foreign clients write them.

Two clients encode offline (kafka-python, aiokafka); librdkafka is made to send to a broker of its own that lives in this
script, understands just enough to be sent to, and keeps what it gets. Run it again only to add a client or a case:

    python3 -m venv venv
    ./venv/bin/pip install confluent-kafka kafka-python aiokafka python-snappy lz4 zstandard cramjam crc32c
    ./venv/bin/python make-record-batches.py > record-batches.json
"""

import base64
import json
import socket
import struct
import sys
import threading
import time

import aiokafka
import confluent_kafka
import kafka
from aiokafka.record.default_records import DefaultRecordBatchBuilder as AiokafkaBuilder
from kafka.record.default_records import DefaultRecordBatchBuilder as KafkaPythonBuilder

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
BASE = 1_700_000_000_000
LONG = b"the same words again and again, " * 40


def record(key, value, timestamp, headers=()):
    return {"key": key, "value": value, "timestamp": timestamp, "headers": list(headers)}


CASES = {
    "one record": [record(b"key", b"value", BASE)],
    "keys and values, null and empty": [
        record(None, b"no key" * 20, BASE),
        record(b"no value", None, BASE),
        record(b"", b"", BASE),
        record(None, None, BASE),
        record(b"k" * 70, LONG, BASE),
    ],
    "headers": [
        record(b"a", LONG, BASE, [("trace", b"\x00\x01\xff"), ("trace", b"again"), ("nothing", None), ("empty", b"")]),
        record(b"b", b"", BASE, [("grün", "blau".encode()), ("n" * 100, b"x" * 200)]),
    ],
    "timestamps out of order": [
        record(b"t", LONG, BASE + delta) for delta in (0, 1, -1, 63, 64, -65, 86_400_000, -86_400_000, 3_000_000_000)
    ],
    "three hundred records": [record(b"key-%d" % n, b"value of record %d" % n, BASE + n) for n in range(300)],
    "values of some size": [record(b"%d" % n, bytes([n]) * 20_000, BASE + n) for n in range(10)],
}


def text(data):
    """Base64; long runs of one byte as that byte and how often it stands, to keep the file small."""
    if data is None:
        return None
    if len(data) > 1_000 and len(set(data)) == 1:
        return f"{text(data[:1])}*{len(data)}"
    return base64.b64encode(data).decode()


def entry(client, version, case, codec, batch, stamp):
    return {"client": client, "version": version, "case": case, "asked": codec, **stamp, "batch": text(batch)}


def records_of(case):
    return [
        {
            "key": text(r["key"]),
            "value": text(r["value"]),
            "timestamp": r["timestamp"],
            "headers": [[name, text(value)] for name, value in r["headers"]],
        }
        for r in CASES[case]
    ]


def stamp_of(producer_id, epoch, sequence, transactional=False):
    return {"producerId": producer_id, "producerEpoch": epoch, "baseSequence": sequence, "isTransactional": transactional}


def offline(builder_class, case, codec, stamp):
    builder = builder_class(
        magic=2,
        compression_type=CODECS.index(codec),
        is_transactional=stamp["isTransactional"],
        producer_id=stamp["producerId"],
        producer_epoch=stamp["producerEpoch"],
        base_sequence=stamp["baseSequence"],
        batch_size=10_000_000,
    )
    for offset, r in enumerate(CASES[case]):
        builder.append(offset, r["timestamp"], r["key"], r["value"], r["headers"])
    return bytes(builder.build())


class Broker(threading.Thread):
    """Answers ApiVersions, Metadata, InitProducerId and Produce; keeps the batches produced."""

    APIS = {0: (0, 7), 1: (0, 10), 2: (0, 1), 3: (0, 2), 10: (0, 1), 18: (0, 0), 22: (0, 1)}

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.batches = []

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
                body = self.answer(api, version, request)
                response = struct.pack(">i", correlation) + body
                connection.sendall(struct.pack(">i", len(response)) + response)

    def answer(self, api, version, request):
        if api == 18:
            rows = b"".join(struct.pack(">hhh", key, low, high) for key, (low, high) in self.APIS.items())
            return struct.pack(">hi", 35 if version > 0 else 0, len(self.APIS)) + rows
        if api == 3:
            host, topic = b"127.0.0.1", b"golden"
            broker = struct.pack(">iih", 1, 0, len(host)) + host + struct.pack(">ih", self.port, -1)
            partition = struct.pack(">hiiiiii", 0, 0, 0, 1, 0, 1, 0)
            topics = struct.pack(">ihh", 1, 0, len(topic)) + topic + struct.pack(">bi", 0, 1) + partition
            return broker + struct.pack(">hi", -1, 0) + topics
        if api == 22:
            return struct.pack(">ihqh", 0, 0, 4711, 3)
        assert api == 0, api
        at = 8 + 2 + max(0, struct.unpack_from(">h", request, 8)[0])
        at += 2 + max(0, struct.unpack_from(">h", request, at)[0])  # transactional id
        at += 2 + 4 + 4  # acks, timeout, one topic
        topic_length = struct.unpack_from(">h", request, at)[0]
        topic = request[at + 2 : at + 2 + topic_length]
        at += 2 + topic_length + 4 + 4  # one partition, its number
        size = struct.unpack_from(">i", request, at)[0]
        self.batches.append(request[at + 4 : at + 4 + size])
        answer = struct.pack(">ih", 1, topic_length) + topic + struct.pack(">iihqq", 1, 0, 0, len(self.batches), -1)
        return answer + (struct.pack(">q", 0) if version >= 5 else b"") + struct.pack(">i", 0)


def librdkafka(broker, case, codec, idempotent):
    broker.batches.clear()
    producer = confluent_kafka.Producer(
        {
            "bootstrap.servers": f"127.0.0.1:{broker.port}",
            "compression.type": codec,
            "linger.ms": 800,
            "batch.size": 2_000_000,
            "message.max.bytes": 3_000_000,
            "enable.idempotence": idempotent,
            "socket.timeout.ms": 10_000,
        }
    )
    for r in CASES[case]:
        producer.produce("golden", key=r["key"], value=r["value"], timestamp=r["timestamp"], headers=r["headers"])
    time.sleep(0.1)
    assert producer.flush(15) == 0, "not delivered"
    assert len(broker.batches) == 1, f"{len(broker.batches)} batches for {case}"
    return broker.batches[0]


def main():
    plain = stamp_of(-1, -1, -1)
    entries = []
    runs = [(codec, case) for codec in CODECS for case in CASES if codec != "none" or case != "values of some size"]
    for codec, case in runs:
        for name, module, builder in (
            ("kafka-python", kafka, KafkaPythonBuilder),
            ("aiokafka", aiokafka, AiokafkaBuilder),
        ):
            entries.append(entry(name, module.__version__, case, codec, offline(builder, case, codec, plain), plain))
    stamp = stamp_of(9_007_199_254_740_991, 32_767, 2_147_483_647, True)
    entries.append(
        entry("kafka-python", kafka.__version__, "headers", "none", offline(KafkaPythonBuilder, "headers", "none", stamp), stamp)
    )
    broker = Broker()
    broker.start()
    version = confluent_kafka.libversion()[0]
    for codec, case in runs:
        batch = librdkafka(broker, case, codec, False)
        entries.append(entry("librdkafka", version, case, codec, batch, plain))
    stamp = stamp_of(4711, 3, 0)
    entries.append(
        entry("librdkafka", version, "headers", "zstd", librdkafka(broker, "headers", "zstd", True), stamp)
    )
    about = "Record batches as foreign clients write them; made by make-record-batches.py"
    cases = {case: records_of(case) for case in CASES}
    json.dump({"about": about, "cases": cases, "batches": entries}, sys.stdout, indent=1, ensure_ascii=False)
    print()


main()
